"""The house stands: rooms import only rooms above them, and packages keep their distance.

Each rule is a function from a module's name and source to complaints. The first half of the
tests asks the rules about the repository; the second half shows each of them a small made-up
source that breaks it, because a rule that cannot fail checks nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

ROOMS: Final = (
    "errors",
    "compiled",
    "identity",
    "blocks",
    "pool",
    "events",
    "layout",
    "storage",
    "config",  # holds layout types and allocators, so it stands below them
    "transfer",
    "tiering",
    "manager",
    "facade",
    "remote",
    "engines",
    "replay",
    "observe",
    "cli",
)
"""Data flows down this list: a room imports only rooms above it."""

STRANGERS: Final = {
    "layout": {"pool", "events"},
    "storage": {"blocks", "pool", "events"},
    "transfer": {"pool", "events"},
}
"""Rooms that stand above, but that a room of bytes must know nothing of: who decides what goes
where."""

PACKAGES: Final = {"kvbm": "kvbm", "kvbm_kernels": "kernels", "kvbm_spec": "spec"}
"""Import name, and where its folder lies."""

NEIGHBOURS: Final = {
    "kvbm_kernels": {"kvbm.transfer", "kvbm.storage"},
    "kvbm_spec": {"kvbm.cli"},
}
"""The only rooms of `kvbm` that may import another package of this repository."""

NOT_IN_THE_BASE: Final = {
    *("cuda", "cupy", "kvikio", "numba_cuda", "nixl", "pynvml", "torch", "triton"),
    *("pytest", "hypothesis", "kvbm_kernels", "kvbm_spec", "vllm", "sglang", "transformers"),
}
"""What `import kvbm` and `import kvbm.cli` must leave alone."""

LONGEST: Final = 400
"""Lines of a module that one can read in one sitting."""

LONGER: Final = {
    "kvbm.errors": "one tree of errors for all rooms, a few lines each",
    "kvbm.pool.pool": "the documented face of a pool, half of it docstrings and blank lines",
}
"""Modules that are longer, each with the reason."""

LATE: Final = {
    "kvbm": "looks its documented names up when they are asked for, so that it costs nothing",
}
"""Packages whose `__init__` may also hold a table of names and what looks them up, each with the
reason."""

Rule = Callable[[str, str], list[str]]


# ── rules ─────────────────────────────────────────────────────────────────────────────────


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Give (line, module) for all that a source imports, wherever in it.

    Imports under TYPE_CHECKING, in functions and by `import_module("…")` count too. A name that
    is taken from a package may be a module, so `from a import b` gives `a.b`.
    """
    package = module if module in PACKAGES else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from ((node.lineno, f"{start}.{name.name}") for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            target = node.args[0]
            if isinstance(target, ast.JoinedStr):  # as in f"kvbm.cli.{name}": its fixed start
                target = target.values[0]
            if isinstance(target, ast.Constant):
                yield node.lineno, str(target.value)


def rooms_in_order(module: str, source: str) -> list[str]:
    """A room of kvbm imports only itself and the rooms above it, and never `kvbm` as a whole."""
    package, _, rest = module.partition(".")
    room = rest.split(".")[0]
    if package != "kvbm" or not room:
        return []
    if room not in ROOMS:
        return [f"{module}: there is no room {room!r}; give it its place in ROOMS"]
    complaints = []
    for line, target in imports(module, source):
        if target.split(".")[0] != "kvbm":
            continue
        other = target.split(".")[1] if "." in target else ""
        if other not in ROOMS:
            complaints.append(f"{module}:{line}: {target}: import from a room, not from the house")
        elif ROOMS.index(other) > ROOMS.index(room):
            complaints.append(f"{module}:{line}: {room!r} imports {other!r}, which is below it")
        elif other in STRANGERS.get(room, ()):
            complaints.append(f"{module}:{line}: {room!r} must know nothing of {other!r}")
    return complaints


def packages_apart(module: str, source: str) -> list[str]:
    """`kvbm_spec` and `kvbm_kernels` stand alone; few rooms of kvbm may import them."""
    package = module.split(".", maxsplit=1)[0]
    room = ".".join(module.split(".")[:2])
    return [
        f"{module}:{line}: {package} must not import {other}"
        for line, target in imports(module, source)
        if (other := target.split(".")[0]) in PACKAGES
        and other != package
        and room not in NEIGHBOURS.get(other, ())
    ]


def short(module: str, source: str) -> list[str]:
    """A module has at most `LONGEST` lines."""
    lines = len(source.splitlines())
    if lines > LONGEST and module not in LONGER:
        return [f"{module}: {lines} lines, more than {LONGEST}; does it teach two things?"]
    return []


def documented(module: str, source: str) -> list[str]:
    """A module opens with what it is."""
    return [] if ast.get_docstring(ast.parse(source)) else [f"{module}: has no docstring"]


def only_re_exports(module: str, source: str) -> list[str]:
    """An `__init__` has a docstring, imports, and `__all__`. Nothing else happens in it."""
    complaints = []
    for node in ast.parse(source).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        late = module in LATE and _looks_names_up(node)
        if not (docstring or names or late or isinstance(node, ast.Import | ast.ImportFrom)):
            complaints.append(f"{module}:{node.lineno}: an __init__ only re-exports")
    return complaints


def _looks_names_up(node: ast.stmt) -> bool:
    """Whether it is a typed constant, or, for one kind of reader, imports and the two hooks."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return all(
            isinstance(inner, ast.Import | ast.ImportFrom)
            or getattr(inner, "name", "") in ("__getattr__", "__dir__")
            for inner in [*node.body, *node.orelse]
        )
    return isinstance(node, ast.AnnAssign)


# ── the repository ────────────────────────────────────────────────────────────────────────


def modules(init: bool = True) -> dict[str, str]:
    """Give the source of each module of the three packages; `__init__` goes by its package."""
    sources = {}
    for package, folder in PACKAGES.items():
        base = ROOT if folder == package else ROOT / folder
        for file in sorted((base / package).rglob("*.py")):
            parts = file.relative_to(base).with_suffix("").parts
            if parts[-1] == "__init__":
                sources[".".join(parts[:-1])] = file.read_text("utf-8")
            elif init:
                sources[".".join(parts)] = file.read_text("utf-8")
    return sources


@pytest.mark.parametrize("rule", [rooms_in_order, packages_apart, short, documented])
def test_every_module_keeps(rule: Rule) -> None:
    complaints = [each for name, source in modules().items() for each in rule(name, source)]
    assert not complaints, "\n".join(complaints)


def test_every_init_only_re_exports() -> None:
    inits = modules(init=False)
    assert {"kvbm", "kvbm.blocks", "kvbm_spec", "kvbm_kernels"} <= set(inits)
    complaints = [each for name, source in inits.items() for each in only_re_exports(name, source)]
    assert not complaints, "\n".join(complaints)


def test_no_excuse_for_looking_names_up_is_stale() -> None:
    inits = modules(init=False)
    assert not [name for name in LATE if "def __getattr__" not in inits.get(name, "")]


def test_no_excuse_for_length_is_stale() -> None:
    lengths = {name: len(source.splitlines()) for name, source in modules().items()}
    assert not [name for name in LONGER if lengths.get(name, 0) <= LONGEST]


@pytest.mark.parametrize(("package", "folder"), PACKAGES.items())
def test_every_package_says_that_it_is_typed(package: str, folder: str) -> None:
    base = ROOT if folder == package else ROOT / folder
    assert (base / package / "py.typed").is_file()


@pytest.mark.parametrize("module", ["kvbm", "kvbm.cli"])
def test_the_base_install_imports_nothing_that_is_an_extra(module: str) -> None:
    assert not _loaded_by(f"import {module}") & NOT_IN_THE_BASE


def test_the_look_at_loaded_modules_sees_an_extra() -> None:
    assert _loaded_by("import pytest") & NOT_IN_THE_BASE == {"pytest"}


def _loaded_by(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(  # noqa: S603  # our own program and interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


# ── each rule can fail ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "source",
    [
        "import kvbm.events",
        "from kvbm.events import EventLog",
        "from kvbm import events",
        "from ..events.log import EventLog",
        "from .. import events",
        "def late():\n    from kvbm.events import EventLog",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import kvbm.events",
        "import importlib\nimportlib.import_module('kvbm.events')",
        "from importlib import import_module\nimport_module(f'kvbm.events.{name}')",
        "import numpy, kvbm.events.log as log",
    ],
)
def test_an_import_of_a_lower_room_is_seen_however_it_is_written(source: str) -> None:
    (complaint,) = rooms_in_order("kvbm.pool.home", source)
    assert "'pool' imports 'events', which is below it" in complaint


@pytest.mark.parametrize(
    "source",
    [
        "import kvbm.blocks",
        "from kvbm.errors import KvbmError",
        "from kvbm.pool.core import PoolCore",
        "from . import core",
        "from .core import PoolCore",
        "from ..blocks import State",
        "import numpy, kvbm_extra",
        "from __future__ import annotations",
    ],
)
def test_an_import_of_the_same_or_a_higher_room_is_fine(source: str) -> None:
    assert not rooms_in_order("kvbm.pool.home", source)


def test_relative_imports_of_a_package_itself_are_resolved_from_it() -> None:
    assert list(imports("kvbm", "from . import pool")) == [(1, "kvbm.pool")]
    assert list(imports("kvbm.pool.home", "from ..blocks import State")) == [
        (1, "kvbm.blocks.State")
    ]


@pytest.mark.parametrize("source", ["import kvbm", "from kvbm import __version__"])
def test_a_room_must_not_import_the_whole_house(source: str) -> None:
    assert "not from the house" in rooms_in_order("kvbm.pool.home", source)[0]


@pytest.mark.parametrize("room", STRANGERS)
def test_rooms_of_bytes_must_not_know_the_pool(room: str) -> None:
    assert "must know nothing of 'pool'" in rooms_in_order(f"kvbm.{room}", "import kvbm.pool")[0]


def test_a_room_that_is_not_in_the_list_is_refused() -> None:
    assert "there is no room 'attic'" in rooms_in_order("kvbm.attic.box", "")[0]
    assert rooms_in_order("kvbm.pool", "import kvbm.attic")


def test_the_first_room_may_import_no_other() -> None:
    assert rooms_in_order("kvbm.errors", "import kvbm.compiled")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kvbm_spec.model", "from kvbm.pool import BlockPool"),
        ("kvbm_spec.model", "import kvbm_kernels"),
        ("kvbm_kernels.copy", "import kvbm.errors"),
        ("kvbm_kernels.copy", "from kvbm_spec import load"),
        ("kvbm.pool.core", "import kvbm_spec"),
        ("kvbm.pool.core", "import kvbm_kernels.copy"),
        ("kvbm.tiering", "import kvbm_kernels"),
        ("kvbm.transfer", "import kvbm_spec"),
        ("kvbm", "import kvbm_spec"),
    ],
)
def test_packages_that_must_not_know_each_other_are_told(module: str, source: str) -> None:
    assert "must not import" in packages_apart(module, source)[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kvbm.cli.conform", "import kvbm_spec"),
        ("kvbm.transfer.cuda", "from kvbm_kernels import pattern"),
        ("kvbm.storage", "import kvbm_kernels"),
        ("kvbm_spec.report", "from kvbm_spec.clauses import load"),
    ],
)
def test_packages_that_may_know_each_other_are_left_alone(module: str, source: str) -> None:
    assert not packages_apart(module, source)


def test_a_module_that_is_too_long_is_told() -> None:
    assert not short("kvbm.pool.new", "x = 1\n" * LONGEST)
    assert "does it teach two things?" in short("kvbm.pool.new", "x = 1\n" * (LONGEST + 1))[0]


def test_a_module_without_a_docstring_is_told() -> None:
    assert not documented("kvbm.pool.new", '"""What this is."""')
    assert documented("kvbm.pool.new", "# What this is\nx = 1")


@pytest.mark.parametrize(
    "source", ["x = 1", "def f(): ...", "if True:\n    import a", "print(1)", "__all__ += ['b']"]
)
def test_an_init_that_does_something_is_told(source: str) -> None:
    assert only_re_exports("kvbm.pool", f'"""Doc."""\nimport a\n__all__ = ["a"]\n{source}')


def test_an_init_that_only_re_exports_is_left_alone() -> None:
    assert not only_re_exports("kvbm.pool", '"""Doc."""\nfrom a import b\n__all__ = ["b"]')


LOOKS_UP: Final = """\
if TYPE_CHECKING:
    from a import b
_TABLE: Final = {}
if not TYPE_CHECKING:
    def __getattr__(name): ...
"""


def test_an_init_that_looks_names_up_needs_a_reason() -> None:
    assert not only_re_exports("kvbm", LOOKS_UP)
    assert len(only_re_exports("kvbm.pool", LOOKS_UP)) == 3


@pytest.mark.parametrize(
    "source",
    ["x = 1", "def f(): ...", "print(1)", "if not TYPE_CHECKING:\n    print(1)",
     "if TYPE_CHECKING:\n    import a\nelse:\n    import b; b.c()", "if True:\n    import a"],
)  # fmt: skip
def test_an_init_that_looks_names_up_does_nothing_else(source: str) -> None:
    assert only_re_exports("kvbm", LOOKS_UP + source)
