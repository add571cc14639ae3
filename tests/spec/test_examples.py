"""The two adapters that people copy from: each answers as the model does, call by call."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kvbm_spec.operations import Op
from kvbm_spec.player import Player
from kvbm_spec.process import ProcessSubject
from kvbm_spec.subject import Env, PoolConfig, SubjectError
from kvbm_spec.twin import Twin

EXAMPLES = Path(__file__).parents[2] / "spec" / "examples"

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

NEEDED = (
    *("hit", "miss", "gap", "woken", "shared", "reset", "stale", "wrong state", "deduplicated"),
    *("evicted", "chose a victim", "free first", "exhausted", "registered again"),
)
"""Situations that the histories must have been in, or they say nothing."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler (cc, gcc or clang) is installed here")
    program = tmp_path_factory.mktemp("adapter") / "adapter"
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
    command = [COMPILER, *strict, "-o", str(program), str(EXAMPLES / "adapter.c")]
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # our own
    return program


@pytest.fixture(scope="module", params=["Python", "C"])
def subject(request) -> Iterator[ProcessSubject]:
    if request.param == "C":
        command = [str(request.getfixturevalue("compiled"))]
    else:
        command = [sys.executable, "-S", str(EXAMPLES / "adapter.py")]
    with ProcessSubject(command) as started:
        yield started


CALLS = ("allocate", "match", "scan", "stage", "register", "release", "release", "reset")

FITS = {"stage": "mutable", "register": "staged", "reset": "staged"}


def any_call(twin: Twin, choose: random.Random) -> Op:
    """Draw a call that mostly fits, but also one in a wrong state or with a dead handle."""
    name = choose.choice(CALLS)
    handles = [*twin.live] * 3 + [*twin.dead][-6:]
    if name in FITS and choose.random() < 0.8:
        handles = [symbol for symbol in twin.live if twin.kind(symbol) == FITS[name]]
    if name == "allocate" or not handles:
        return Op("allocate", n=choose.choice((0, 1, 1, 1, 2, 3)))
    if name in ("match", "scan"):
        return Op(name, keys=tuple(choose.choices(range(5), k=choose.randint(0, 3))))
    handle = choose.choice(handles)
    return Op(name, handle=handle, keys=(choose.randrange(5),) if name == "stage" else ())


def test_a_random_history_is_answered_as_by_the_model(subject: ProcessSubject) -> None:
    seen: Counter[str] = Counter()
    for seed in range(120):
        choose = random.Random(seed)
        config = PoolConfig(slots=choose.randint(1, 5))
        twin, player = Twin(config, subject.capabilities()), Player(subject, config)
        told = []
        for _ in range(80):
            op = any_call(twin, choose)
            expected, got = replace(twin.apply(op), read=None), player.play(op)
            told.append(f"{op} -> {got}")
            assert got == expected, "\n".join([f"seed {seed}", *told, f"expected {expected}"])
        player.close()
        seen += twin.situations
    assert not [name for name in NEEDED if not seen[name]]


@pytest.mark.clause("KV-SHD-01")
def test_a_closed_pool_refuses_all_but_to_be_closed(subject: ProcessSubject) -> None:
    pool = subject.open(PoolConfig(slots=1), Env())
    (handle,) = pool.allocate(1) or []
    pool.close()
    pool.close()
    for call in (lambda: pool.allocate(1), lambda: pool.release(handle), lambda: pool.match([1])):
        with pytest.raises(SubjectError) as refused:
            call()
        assert refused.value.kind == "Closed"


def test_a_key_keeps_all_of_its_64_bits(subject: ProcessSubject) -> None:
    pool = subject.open(PoolConfig(slots=2), Env())
    for key, handle in zip((2**64 - 1, 2**63), pool.allocate(2) or [], strict=True):
        pool.register(pool.stage(handle, key))
    assert [*pool.scan([2**63, 2**64 - 1, 2**64 - 2])] == [2**63, 2**64 - 1]
    assert [event.key for event in pool.drain_events()] == [2**64 - 1, 2**63]


def test_a_new_pool_is_empty_and_knows_no_old_handle(subject: ProcessSubject) -> None:
    pool = subject.open(PoolConfig(slots=1), Env())
    held = pool.register(pool.stage((pool.allocate(1) or [])[0], 7))
    pool.close()
    fresh = subject.open(PoolConfig(slots=1), Env())
    assert fresh.match([7]) == []
    with pytest.raises(SubjectError, match="StaleHandle"):
        fresh.release(held)


def test_what_an_example_does_not_have_it_says(subject: ProcessSubject) -> None:
    pool = subject.open(PoolConfig(slots=1), Env())
    with pytest.raises(SubjectError, match="Unsupported"):
        pool.call("snapshot")


def test_the_examples_need_nothing_but_their_language() -> None:
    python = (EXAMPLES / "adapter.py").read_text("utf-8")
    assert {line for line in python.splitlines() if line.startswith(("import", "from"))} == {
        "import json",
        "import sys",
    }
    c = (EXAMPLES / "adapter.c").read_text("utf-8")
    assert {line for line in c.splitlines() if line.startswith("#include")} == {
        f"#include <{name}.h>" for name in ("inttypes", "stdbool", "stdio", "stdlib", "string")
    }
