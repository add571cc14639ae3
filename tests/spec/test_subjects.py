"""Pools of other people: what the suite says of them is what was announced, no more, no less.

The engines are no dependency: where one is not installed, its tests are skipped.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from kvbm_spec import disciplined, report
from kvbm_spec.command import load_subject
from kvbm_spec.explore import explore
from kvbm_spec.moves import Scope
from kvbm_spec.run import Report, run
from kvbm_spec.status import Status, read_expectations
from kvbm_spec.subject import Env, Inspectable, PoolConfig, Storing, Subject, SubjectError
from subjects.naive import Adapter, Naive

from kvbm.cli.subject import KvbmSubject

SUBJECTS: Final = Path(__file__).parents[2] / "spec" / "subjects"
REPORTS: Final = Path(__file__).parents[2] / "docs" / "conformance"
README: Final = (REPORTS / "README.md").read_text("utf-8")
TODAY: Final = date(2030, 1, 1)

ENGINES: Final = {
    "vllm_block_pool": "vllm",
    "vllm_kv_cache_manager": "vllm",
    "sglang_radix_cache": "sglang",
}
"""Adapter, and the package that it adapts."""

QUIET: Final = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
"""What importing an engine says about the machine is not about us."""

RUNS: Final = [
    ("vllm_block_pool", "VllmBlockPool", "vllm_block_pool"),
    ("vllm_block_pool", "disciplined", "vllm_block_pool_disciplined"),
    ("vllm_kv_cache_manager", "VllmKVCacheManager", "vllm_kv_cache_manager"),
    ("vllm_kv_cache_manager", "disciplined", "vllm_kv_cache_manager_disciplined"),
    ("sglang_radix_cache", "SglangRadixCache", "sglang_radix_cache"),
    ("sglang_radix_cache", "disciplined", "sglang_radix_cache_disciplined"),
    ("naive", "Naive", "naive"),
]
"""Adapter, what makes the subject, file of expectations; in the order of the table of reports."""


def subject(module: str, name: str) -> Subject:
    if importlib.util.find_spec(ENGINES.get(module, "kvbm_spec")) is None:
        pytest.skip(f"{ENGINES[module]} is not installed")
    return load_subject(f"subjects.{module}:{name}")


def opened(module: str, name: str, slots: int = 2) -> Any:
    """Open a pool that stores, writes a block for K0 and publishes it; give both."""
    one = subject(module, name)
    duplicates = one.capabilities().duplicates[0]
    pool: Any = one.open(PoolConfig(slots=slots, duplicates=duplicates), Env())
    (block,) = pool.allocate(1)
    pool.write(block, b"of K0...")
    return pool, pool.register(pool.stage(block, 0))


@cache
def said_of(module: str, name: str, file: str) -> Report:
    expected = read_expectations(SUBJECTS / f"{file}.toml")
    return run(subject(module, name), "smoke", expected=expected, today=TODAY)


@QUIET
@pytest.mark.parametrize(("module", "name", "file"), RUNS)
def test_a_subject_fails_what_was_announced_and_nothing_else(
    module: str, name: str, file: str
) -> None:
    said = said_of(module, name, file)
    statuses = {result.clause: result.status for result in said.results}
    announced = set(read_expectations(SUBJECTS / f"{file}.toml").failures)
    told = report.text(said)
    assert not said.problems, told
    assert {c for c, s in statuses.items() if s is Status.EXPECTED_FAIL} <= announced, told
    assert {statuses[c] for c in announced} <= {Status.EXPECTED_FAIL, Status.BLOCKED}, told
    others = {s for s in statuses.values() if s.bad}
    assert others <= {Status.BLOCKED}, told
    assert said.ok == (Status.BLOCKED not in others)


@QUIET
@pytest.mark.parametrize(("module", "name", "file"), RUNS)
def test_a_report_has_the_results_of_the_run(module: str, name: str, file: str) -> None:
    said = said_of(module, name, file)
    page = (REPORTS / f"{module.replace('_', '-')}.md").read_text("utf-8")
    shown = page.partition("## Results")[2].split("```text\n")[1 + (name == "disciplined")]
    groups = [line for line in report._groups(said) if not line.startswith("SKIP")]
    assert shown.partition("```")[0].splitlines() == groups


@QUIET
@pytest.mark.parametrize(("module", "name", "file"), RUNS)
def test_the_table_of_reports_has_the_numbers_of_the_run(module: str, name: str, file: str) -> None:
    counts = said_of(module, name, file).counts()
    table = re.findall(r"^\|.*\| (\d+) \| (\d+) \| (\d+) \|.*\|$", README, re.MULTILINE)
    wanted = (Status.PASS, Status.EXPECTED_FAIL, Status.BLOCKED)
    row = table[RUNS.index((module, name, file))]
    assert [*map(int, row)] == [counts[status] for status in wanted]


@pytest.mark.parametrize(("module", "engine"), ENGINES.items())
def test_an_adapter_can_be_imported_without_its_engine(module: str, engine: str) -> None:
    program = f"import sys, subjects.{module}; sys.exit({engine!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own program


def test_every_expectation_says_whether_it_is_a_policy_or_a_bug() -> None:
    files = sorted(SUBJECTS.glob("*.toml"))
    assert {file.name for file in files} == {f"{file}.toml" for _, _, file in RUNS}
    for file in files:
        for entry in read_expectations(file).failures.values():
            assert entry["reason"].startswith(("bug", "policy")), f"{file.name}: {entry}"


# ── what the reports say of each engine ───────────────────────────────────────────────────


@QUIET
@pytest.mark.clause("KV-LIF-06", "KV-INT-01")
@pytest.mark.parametrize(
    ("module", "name"),
    [("vllm_block_pool", "VllmBlockPool"), ("sglang_radix_cache", "SglangRadixCache")],
)
def test_a_bare_engine_frees_a_shared_block_under_its_reader(module: str, name: str) -> None:
    pool, first = opened(module, name)
    (reader,) = pool.match([0])
    pool.release(first)
    pool.release(first)
    for block in pool.allocate(2):
        pool.write(block, b"stranger")
    assert pool.read(reader) == b"stranger"


@QUIET
def test_a_vllm_block_that_was_freed_twice_is_lost_at_the_next_allocation() -> None:
    pool = subject("vllm_block_pool", "VllmBlockPool").open(PoolConfig(slots=2), Env())
    (block,) = pool.allocate(1) or []
    pool.release(block)
    pool.release(block)
    with pytest.raises(AssertionError):
        pool.allocate(1)
    assert len(pool.allocate(1) or []) == 1
    assert pool.allocate(1) is None


@QUIET
def test_a_vllm_request_that_is_freed_twice_does_no_harm() -> None:
    pool, first = opened("vllm_kv_cache_manager", "VllmKVCacheManager")
    (reader,) = pool.match([0])
    pool.release(first)
    pool.release(first)
    assert pool.allocate(2) is None
    assert pool.read(reader) == b"of K0..."


@QUIET
@pytest.mark.clause("KV-EVT-01", "KV-EVT-02")
@pytest.mark.parametrize(
    ("module", "name"),
    [("vllm_block_pool", "disciplined"), ("vllm_kv_cache_manager", "disciplined")],
)
def test_a_set_that_follows_the_events_of_vllm_loses_a_block_that_still_matches(
    module: str, name: str
) -> None:
    pool, first = opened(module, name)
    (copy,) = pool.allocate(1)
    pool.register(pool.stage(copy, 0))
    pool.release(first)
    pool.allocate(1)
    known = set()
    for event in pool.drain_events():
        (known.add if event.kind == "Stored" else known.discard)(event.key)
    assert known == set()
    assert len(pool.match([0])) == 1


@QUIET
def test_a_copy_that_vllm_keeps_takes_the_room_of_another_block() -> None:
    pool, first = opened("vllm_block_pool", "disciplined", slots=3)
    copy, other = pool.allocate(2)
    copy = pool.register(pool.stage(copy, 0))
    other = pool.register(pool.stage(other, 1))
    for block in (other, first, copy):
        pool.release(block)
    pool.allocate(1)
    assert [len(pool.match([key])) for key in (0, 1)] == [1, 0]


@QUIET
def test_an_sglang_page_that_was_freed_twice_has_two_owners() -> None:
    pool: Any = subject("sglang_radix_cache", "SglangRadixCache").open(PoolConfig(slots=2), Env())
    (block,) = pool.allocate(1)
    pool.release(block)
    pool.release(block)
    assert pool.snapshot().available == 3
    first, second = pool.allocate(2)
    assert first.page.tolist() == second.page.tolist()


@QUIET
@pytest.mark.clause("KV-EVC-06")
def test_an_sglang_allocation_that_cannot_be_empties_the_cache_all_the_same() -> None:
    pool, first = opened("sglang_radix_cache", "SglangRadixCache")
    pool.release(first)
    assert pool.allocate(3) is None
    assert pool.match([0]) == []


@QUIET
@pytest.mark.clause("KV-EVC-02")
@pytest.mark.parametrize(("name", "oldest"), [("SglangRadixCache", 0), ("disciplined", 1)])
def test_sglang_counts_a_release_as_a_use_only_if_the_tokens_are_inserted_again(
    name: str, oldest: int
) -> None:
    pool, first = opened("sglang_radix_cache", name)
    (block,) = pool.allocate(1)
    second = pool.register(pool.stage(block, 1))
    pool.release(second)
    pool.release(first)
    pool.drain_events()
    pool.allocate(1)
    assert [event.key for event in pool.drain_events()] == [oldest]


# ── the disciplined caller ────────────────────────────────────────────────────────────────


def caller() -> disciplined.Caller:
    return disciplined.Disciplined(Naive()).open(PoolConfig(slots=2), Env())


@pytest.mark.clause("KV-LIF-02", "KV-LIF-06")
def test_a_disciplined_caller_uses_no_handle_twice() -> None:
    pool = caller()
    (mutable,) = pool.allocate(1) or []
    staged = pool.stage(mutable, 0)
    with pytest.raises(SubjectError, match="StaleHandle"):
        pool.release(mutable)
    shared = pool.register(staged)
    pool.release(shared)
    for call in (pool.release, pool.register, pool.reset):
        with pytest.raises(SubjectError, match="StaleHandle"):
            call(shared)


@pytest.mark.clause("KV-LIF-01")
def test_a_disciplined_caller_makes_no_call_out_of_turn() -> None:
    pool = caller()
    (mutable,) = pool.allocate(1) or []
    with pytest.raises(SubjectError, match="WrongState"):
        pool.register(mutable)
    staged = pool.stage(mutable, 0)
    with pytest.raises(SubjectError, match="WrongState"):
        pool.stage(staged, 1)
    shared = pool.register(pool.stage(pool.reset(staged), 2))
    for call in (pool.register, pool.reset):
        with pytest.raises(SubjectError, match="WrongState"):
            call(shared)
    assert len(pool.match([2, 0])) == 1


def test_a_refused_call_of_the_pool_leaves_the_handle_alive() -> None:
    class Refusing(Adapter):
        def register(self, slot: int) -> int:
            raise SubjectError("Unsupported", f"{slot}")

    pool = disciplined.Caller(Refusing(caller()._pool.pool))
    (mutable,) = pool.allocate(1) or []
    staged = pool.stage(mutable, 0)
    with pytest.raises(SubjectError, match="Unsupported"):
        pool.register(staged)
    pool.release(staged)


@pytest.mark.clause("KV-OWN-05")
def test_a_disciplined_caller_shows_what_its_pool_shows_and_writes_to_no_shared_block() -> None:
    assert not isinstance(caller(), Inspectable | Storing)
    pool = disciplined.Disciplined(KvbmSubject()).open(PoolConfig(slots=2), Env())
    assert isinstance(pool, Inspectable)
    assert isinstance(pool, Storing)
    (mutable,) = pool.allocate(1) or []
    pool.write(mutable, b"12345678")
    shared = pool.register(pool.stage(mutable, 0))
    assert pool.read(shared) == b"12345678"
    with pytest.raises(SubjectError, match="WrongState"):
        pool.write(shared, b"87654321")
    assert pool.snapshot().registry == {0: 0}


def test_our_own_pool_is_as_right_with_a_disciplined_caller() -> None:
    config = PoolConfig(slots=2, policy="lru")
    findings = explore(disciplined.Disciplined(KvbmSubject()), config, Scope(slots=2, depth=6))
    assert not findings.failures
    assert findings.states > 50
