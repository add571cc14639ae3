"""Agreement: two processes name a block alike, and say from which root.

What this is
    The subject is made again in another process, with another seed of the interpreter's own
    hash. A scheme whose rules are in print is held to its vectors, byte by byte.

Clauses: KV-IDN-02, KV-IDN-07
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kvbm_spec.elsewhere import answers, ask_elsewhere, name_of
from kvbm_spec.hashing import FILE
from kvbm_spec.identity import Hashing, Identity, Schemed, Sharing
from kvbm_spec.subject import SubjectError
from kvbm_spec.trial import Broken, Check, Scene, Script, Trial
from kvbm_spec.trials.asking import Question, ask, hasher

SAME: Final = "KV-IDN-02"
ROOT: Final = "KV-IDN-07"

FIELDS: Final = {"lora": "adapter", "namespace": "salt"}
"""Words of the vectors, and of an `Identity`."""


def another_process_agrees(script: Script) -> None:
    """Ask here and there; the other interpreter has another seed than this one."""
    name = name_of(script.subject)
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    here = answers(hasher(script))
    try:
        there = ask_elsewhere(hasher(script), hash_seed=seed)
    except (RuntimeError, OSError, ValueError) as failed:
        script.expect(SAME, False, f"{name} gave no keys in another process ({failed})")
        raise
    if there is None:
        return  # and the clause is vacuous
    text = f"{name} with PYTHONHASHSEED={seed}"
    what = f"the root is {here['root']!r} here, and {there['root']!r} in {text}"
    script.expect(ROOT, here["root"] == there["root"], what)
    pairs = zip(here["keys"], there["keys"], strict=True)
    differing = next(((one, other) for one, other in pairs if one != other), None)
    script.expect(SAME, differing is None, f"here and in {text} one block has keys {differing}")
    script.reached("another process")


def vectors_are_kept(script: Script) -> None:
    """Compare with the vectors of the scheme that the root names, if it is one of them."""
    _compare(script, hasher(script).hash_root().partition(":")[0], hasher(script))


def vectors_of_all_schemes_are_kept(script: Script) -> None:
    """Compare with the vectors of each scheme that the subject has."""
    assert isinstance(script.subject, Schemed), "asked only of subjects with several schemes"
    for scheme, hashing in script.subject.schemes().items():
        _compare(script, scheme, hashing)


def _compare(script: Script, scheme: str, hashing: Hashing) -> None:
    for case in _cases():
        fields = {FIELDS[name]: case[name] for name in FIELDS if name in case}
        if case["scheme"] != scheme or not {*fields} <= {*hashing.identity_fields()}:
            continue
        tokens = case["tokens"]
        question = Question(
            tuple(range(tokens) if isinstance(tokens, int) else tokens),
            Identity(**fields),
            case["block_size"],
        )
        keys = ask(script, question, hashing)[case.get("first", 0) :]
        wanted = [int(digits, 16) for digits in case["sequence_hashes"]]
        what = f"{case['about']}: scheme {scheme} gives {wanted}, and the subject {keys}"
        script.expect(SAME, keys == wanted, what)
        script.reached("a vector")


def _cases() -> Iterator[Mapping[str, Any]]:
    """Give the vectors whose inputs an `Identity` can hold."""
    for case in json.loads(FILE.read_text("utf-8"))["cases"]:
        if "media" not in case and "eagle" not in case:
            yield case


def the_root_is_told(script: Script) -> None:
    """Read the root, and ask to share with others."""
    root = script.call("hash_root()", hasher(script).hash_root)
    script.expect(ROOT, isinstance(root, str) and ":" in root, f"{root!r} is no scheme:root")
    if not isinstance(script.subject, Sharing):
        return
    script.call(f"share({root!r})", script.subject.share, root)
    script.reached("shared")
    for other in (f"{root}1", f"other:{root}", root.partition(":")[0], ""):
        try:
            script.call(f"share({other!r})", script.subject.share, other)
        except SubjectError:
            continue
        raise Broken(ROOT, f"a subject of root {root!r} shares with one of root {other!r}")
    script.reached("refused to share")


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("another process", (SAME, ROOT), "hashing", another_process_agrees),
    Scene("vectors of a scheme", (SAME,), "hashing", vectors_are_kept),
    Scene("vectors of all schemes", (SAME,), "schemes", vectors_of_all_schemes_are_kept),
    Scene("the root of a hash", (ROOT,), "hashing", the_root_is_told),
)

CHECKS: Final[Mapping[str, Check]] = {
    SAME: Check(("another process",), "hashing"),
    ROOT: Check(("shared", "refused to share"), "sharing"),
}
