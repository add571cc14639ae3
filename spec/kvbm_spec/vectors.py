"""Vectors: histories with what must be answered, as files that need no Python to be used.

What this is
    `data/vectors/bugs` has one history for each bug that was reported in public and that a
    pool of one tier can show, chosen by hand. `data/vectors/shortest` has a short history
    to everything that can happen in a small pool; `shortest` makes them from the model.

Interface, as rules of use
    * `load()` gives all, `read(text)` and `write(vector)` one, in one form byte for byte.
    * `run(vector, subject)` asks a subject, and tells the first step that differs.
    * A vector holds under each order of eviction in `policies`, with or without parents
      held. One that a subject does not declare is skipped, and says why.
    * `predicted(...)` is what the model says; vectors and model must agree.
    * `python -m kvbm_spec.vectors COMMAND…` asks a program behind `spec/protocol.md`. Exit
      codes: 0 all passed or were skipped; 1 one failed; 2 the adapter is broken.

Clauses: KV-LIF-01, KV-LIF-02, KV-CAP-06, KV-REG-01, KV-REG-02, KV-EVC-02
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

from kvbm_spec import schema
from kvbm_spec.operations import Op, Outcome, Step, key_from
from kvbm_spec.player import Player
from kvbm_spec.process import AdapterError, ProcessSubject
from kvbm_spec.subject import Capabilities, PoolConfig, Subject
from kvbm_spec.twin import Twin

POLICIES: Final = ("lru", "fifo", "priority", "multi-lru", "lineage", "lineage-fifo")

FOLDERS: Final = ("bugs", "shortest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One history. `steps` has each call with the outcome that it must have."""

    id: str
    title: str
    clauses: tuple[str, ...]
    bugs: tuple[str, ...] = ()
    """Rows of the list of reported bugs that this history shows."""
    since: str = "1.0"
    slots: int
    duplicates: str
    policies: tuple[str, ...]
    steps: tuple[tuple[Op, Outcome], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one vector: `status` is pass, fail or skip."""

    status: str
    reason: str = ""
    index: int | None = None
    """Of the first step that differs."""

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}" if self.reason else self.status


# ── files ─────────────────────────────────────────────────────────────────────────────────


@cache
def load() -> tuple[Vector, ...]:
    """Give all vectors, in the order of their ids. Read once."""
    return tuple(read(file.read_text("utf-8")) for file in _files())


def read(text: str) -> Vector:
    """Read one vector, whose form is checked.

    Raises
    ------
    schema.Mismatch
        It has another form; the message names the place.
    """
    data = json.loads(text)
    schema.check(data, "vector")
    return Vector(
        **{name: _frozen(value) for name, value in data["info"].items()},
        slots=data["config"]["slots"],
        duplicates=data["config"]["duplicates"],
        policies=tuple(data["config"]["policies"]),
        steps=tuple((Op.from_json(step), _outcome(step)) for step in data["steps"]),
    )


def write(vector: Vector) -> str:
    """Give the text of a vector, a line for each step. The same vector, the same text."""
    info: dict[str, Any] = {
        "id": vector.id,
        "title": vector.title,
        "clauses": vector.clauses,
        **({"bugs": vector.bugs} if vector.bugs else {}),
        "since": vector.since,
    }
    config = {
        "slots": vector.slots,
        "duplicates": vector.duplicates,
        "policies": vector.policies,
    }
    steps = [json.dumps(_step(op, outcome)) for op, outcome in vector.steps]
    return (
        f'{{\n  "info": {json.dumps(info)},\n  "config": {json.dumps(config)},\n  "steps": [\n    '
        + ",\n    ".join(steps)
        + "\n  ]\n}\n"
    )


# ── asking ────────────────────────────────────────────────────────────────────────────────


def run(vector: Vector, subject: Subject) -> Result:
    """Ask a subject all steps of a vector, up to the first that differs."""
    declared = subject.capabilities()
    if vector.duplicates not in declared.duplicates:
        return Result("skip", f"does not declare duplicates {vector.duplicates}")
    policy = next((each for each in declared.policies if each in vector.policies), None)
    if policy is None:
        return Result("skip", f"declares none of {', '.join(vector.policies)}")
    config = PoolConfig(slots=vector.slots, duplicates=vector.duplicates, policy=policy)
    player = Player(subject, config)
    try:
        for index, (op, outcome) in enumerate(vector.steps):
            expected = outcome if declared.events else outcome.without_events()
            got = replace(player.play(op), read=None)
            if got != expected:
                reason = f"{vector.id}, step {index + 1}: {Step(op, expected, got)}"
                return Result("fail", reason, index)
    finally:
        player.close()
    return Result("pass")


def predicted(
    ops: Sequence[Op], *, slots: int, duplicates: str, policy: str = "lru", parents: bool = False
) -> list[Outcome]:
    """Give what the model answers."""
    config = PoolConfig(slots=slots, duplicates=duplicates, policy=policy)
    twin = Twin(config, Capabilities(holds_parents=parents))
    return [replace(twin.apply(op), read=None) for op in ops]


def policies_that_agree(vector: Vector) -> tuple[str, ...]:
    """Give the orders of eviction under which the model answers as the vector says."""
    ops, outcomes = zip(*vector.steps, strict=True)

    def answers(policy: str, parents: bool) -> list[Outcome]:
        settings = {"slots": vector.slots, "duplicates": vector.duplicates, "policy": policy}
        return predicted(ops, **settings, parents=parents)  # type: ignore[arg-type]  # one each

    return tuple(
        policy
        for policy in POLICIES
        if all(answers(policy, parents) == list(outcomes) for parents in (False, True))
    )


# ── inside ────────────────────────────────────────────────────────────────────────────────


def _files() -> Iterator[Traversable]:
    for folder in FOLDERS:
        files = resources.files("kvbm_spec").joinpath("data", "vectors", folder).iterdir()
        yield from sorted(files, key=lambda file: file.name)


def _step(op: Op, outcome: Outcome) -> dict[str, Any]:
    told = outcome.to_json()
    if not told["events"]:
        del told["events"]
    return op.to_json() | told


def _outcome(step: dict[str, Any]) -> Outcome:
    value = step["expect"].get("ok")
    if isinstance(value, dict):
        value = {key_from(key): symbol for key, symbol in value.items()}
    events = tuple((kind, key_from(*key) if key else None) for kind, *key in step.get("events", ()))
    return Outcome(value, step["expect"].get("error"), events)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def main(command: Sequence[str]) -> int:
    """Ask a program all vectors; give the exit code."""
    counts: Counter[str] = Counter()
    try:
        with ProcessSubject(command) as subject:
            for vector in load():
                result = run(vector, subject)
                counts[result.status] += 1
                if result.status == "fail":
                    sys.stdout.write(f"FAIL {result.reason}\n")
    except (AdapterError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    totals = ", ".join(f"{counts[status]} {status}" for status in ("pass", "fail", "skip"))
    sys.stdout.write(f"{subject.name} {subject.version}: {totals}\n")
    return min(counts["fail"], 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
