"""The documentation is true: its examples run, its generated parts are fresh, its links lead
somewhere. What a page shows as Python has a prompt and is run, each page in a namespace of its
own, from top to bottom."""

from __future__ import annotations

import doctest
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"

PAGES: Final = {
    str(page.relative_to(ROOT)): page
    for pattern in ("*.md", "docs/**/*.md", "spec/**/*.md", "kernels/*.md")
    for page in sorted(ROOT.glob(pattern))
}

THE_BOOK: Final = {
    "docs/README.md",
    "docs/identity.md",
    "docs/one-block.md",
    "docs/lifecycle.md",
    "docs/eviction.md",
    "docs/events.md",
    "docs/replay.md",
    "docs/block_manager.md",
    "docs/configuration.md",
    "docs/block_pool.md",
    "docs/storage.md",
    "docs/python.md",
    "docs/vocabulary.md",
    "docs/glossary.md",
    "docs/clauses.md",
}

_FENCE: Final = re.compile(r"^```(\w*)$(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")

_MEMBER: Final = re.compile(r"`([A-Z]\w*)\.(\w+)`")


# ── reading ───────────────────────────────────────────────────────────────────────────────


def fences(page: str) -> Iterator[tuple[int, str, str]]:
    """Give (line, language, text) of each fenced block."""
    for found in _FENCE.finditer(page):
        yield page.count("\n", 0, found.start()) + 1, found[1], found[2]


def examples(page: str, name: str) -> doctest.DocTest:
    """Give all examples of a page as one test: later ones see what earlier ones made."""
    lines = [""] * (page.count("\n") + 1)
    for line, language, text in fences(page):
        if language == "python":
            lines[line - 1 : line - 1 + text.count("\n") + 1] = text.split("\n")
    parser = doctest.DocTestParser()
    return parser.get_doctest("\n".join(lines), {"__name__": name}, name, name, 0)


def run(test: doctest.DocTest) -> tuple[int, str]:
    """Run a page; give the number of examples tried and the report of those that failed."""
    report: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=report.append)
    return runner.tries, "".join(report)


def without_prompt(page: str) -> list[int]:
    """Give the lines of Python blocks that show code which nobody runs."""
    return [
        line
        for line, language, text in fences(page)
        if (language == "python") != (">>> " in text) or language in ("py", "pycon", "doctest")
    ]


def dead_links(page: str, folder: Path) -> list[str]:
    """Give the links to files and headings that are not there. The network is not asked."""
    return [
        link
        for link in _LINK.findall(_FENCE.sub("", page))
        if "://" not in link and not _leads_somewhere(link, page, folder)
    ]


def _leads_somewhere(link: str, page: str, folder: Path) -> bool:
    path, _, anchor = link.partition("#")
    if path and not (folder / path).exists():
        return False
    target = (folder / path).read_text("utf-8") if path and anchor else page
    return not anchor or anchor in anchors(target)


def anchors(page: str) -> set[str]:
    """Give the names by which headings can be linked, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def lost_names(page: str, sources: list[str]) -> list[str]:
    """Give the `Class.member` of a page that no source has, so that no pointer goes stale."""
    return [
        f"{owner}.{member}"
        for owner, member in _MEMBER.findall(page)
        if not any(
            re.search(rf"^class {owner}\b", source, re.MULTILINE)
            and re.search(rf"\b{member}\b", source)
            for source in sources
        )
    ]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ── the pages ─────────────────────────────────────────────────────────────────────────────


def test_the_book_is_whole() -> None:
    assert set(PAGES) >= THE_BOOK


@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_give_what_it_says(name: str) -> None:
    tries, report = run(examples(PAGES[name].read_text("utf-8"), name))
    assert not report, report
    assert tries == len(examples(PAGES[name].read_text("utf-8"), name).examples)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_no_python_that_is_not_run(name: str) -> None:
    assert not without_prompt(PAGES[name].read_text("utf-8"))


@pytest.mark.parametrize("name", PAGES)
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    assert not dead_links(PAGES[name].read_text("utf-8"), PAGES[name].parent)


@pytest.mark.parametrize("name", PAGES)
def test_the_generated_parts_of_a_page_are_fresh(name: str) -> None:
    page = PAGES[name].read_text("utf-8")
    assert _generator().render(page) == page, "stale; run docs/generate.py"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_only_members_that_exist(name: str) -> None:
    sources = [file.read_text("utf-8") for file in ROOT.glob("kvbm/**/*.py")]
    assert not lost_names(PAGES[name].read_text("utf-8"), sources)


def test_the_first_page_leads_to_all_others() -> None:
    links = set(_LINK.findall(PAGES["docs/README.md"].read_text("utf-8")))
    assert not {name.removeprefix("docs/") for name in THE_BOOK} - links - {"README.md"}


def test_every_generated_part_is_shown_somewhere() -> None:
    text = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    shown = set(re.findall(r"<!-- generated: (.+?) -->", text))
    assert shown == set(_generator().SECTIONS)


# ── each rule can fail ────────────────────────────────────────────────────────────────────

PAGE: Final = """\
# One page

```python
>>> a = 1
```

Text.

```python
>>> a + 1
2
```
"""


def test_examples_of_one_page_share_a_namespace_and_those_of_two_do_not() -> None:
    assert run(examples(PAGE, "one")) == (2, "")
    assert "NameError" in run(examples(PAGE.replace(">>> a = 1", ">>> b = 1"), "two"))[1]


def test_a_wrong_result_is_reported_with_its_line() -> None:
    report = run(examples(PAGE.replace("2\n", "3\n"), "page.md"))[1]
    assert 'File "page.md", line 10, in page.md' in report
    assert "Expected:\n    3\nGot:\n    2\n" in report


@pytest.mark.parametrize(
    "page",
    [
        "```python\na = 1\n```\n",
        "```\n>>> a = 1\n```\n",
        "```text\n>>> a = 1\n```\n",
        "```pycon\n>>> a = 1\n```\n",
    ],
)
def test_code_that_nobody_runs_is_seen(page: str) -> None:
    assert without_prompt(page) == [1]


@pytest.mark.parametrize("link", ["nowhere.md", "#nothing", "identity.md#nothing"])
def test_a_dead_link_is_seen(link: str) -> None:
    assert dead_links(f"# One page\n\n[here]({link})\n", DOCS) == [link]


@pytest.mark.parametrize("link", ["identity.md", "#one-page", "https://example.org/none"])
def test_a_link_that_leads_somewhere_is_fine(link: str) -> None:
    assert not dead_links(f"# One page\n\n[here]({link})\n", DOCS)


def test_a_member_that_is_gone_is_seen() -> None:
    sources = ["class Pool:\n    def take(self): ...", "def give(): ..."]
    assert lost_names("`Pool.take`, `Pool.give`, `Pond.take`", sources) == [
        "Pool.give",
        "Pond.take",
    ]


@pytest.mark.parametrize("name", ["lifecycle table", "lifecycle diagram", "clauses"])
def test_a_stale_part_is_made_anew_and_the_rest_stays(name: str) -> None:
    generate = _generator()
    page = f"Before.\n\n<!-- generated: {name} -->\nold\n<!-- end -->\n\nAfter.\n"
    fresh = generate.render(page)
    assert fresh != page
    assert "old" not in fresh.split("\n")
    assert fresh.startswith("Before.\n\n<!-- generated:")
    assert fresh.endswith("<!-- end -->\n\nAfter.\n")
    assert generate.render(fresh) == fresh


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(KeyError, match="recipe"):
        _generator().render("<!-- generated: recipe -->\n<!-- end -->")
