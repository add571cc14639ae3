"""A subject behind a pipe: what it answers arrives, and what it does wrong is told apart."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kvbm_spec import abilities
from kvbm_spec.pipe import LONGEST_ANSWER
from kvbm_spec.process import AdapterError, ProcessManager, ProcessSubject, ProgramFailed
from kvbm_spec.spoken import SPOKEN
from kvbm_spec.subject import (
    Capabilities,
    Env,
    Event,
    Inspectable,
    PoolConfig,
    SlotView,
    Storing,
    SubjectError,
)

CONFIG = PoolConfig(slots=2)

PROGRAM = """
import json, os, sys, time
def say(**answer): print(json.dumps({"id": request["id"], **answer}), flush=True)
def raw(text): print(text, flush=True)
pid = os.getpid()
for line in sys.stdin:
    request = json.loads(line)
    op, args = request["op"], request["args"]
    if op == "hello":
        say(ok={"name": "toy", "version": "1", "spec": "1.0", "capabilities": CAPABILITIES})
    elif op in ("open", "close"):
        say(ok=None)
    else:
        REACTION
"""

Open = Callable[..., ProcessManager]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Give a way to open a pool of a program that reacts as a line of Python says."""
    subjects = []

    def start(reaction: str, capabilities: str = "{}", deadline: float = 10.0) -> ProcessManager:
        file = tmp_path / "program.py"
        text = PROGRAM.replace("REACTION", reaction).replace("CAPABILITIES", capabilities)
        file.write_text(text, "utf-8")
        subjects.append(ProcessSubject([sys.executable, "-S", str(file)], deadline=deadline))
        return subjects[-1].open(CONFIG, Env())

    yield start
    for subject in subjects:
        subject.close()


# ── what is right ─────────────────────────────────────────────────────────────────────────


def test_requests_and_answers_are_those_of_the_protocol(opened: Open) -> None:
    """The program answers every call with what it was asked, as the reason of a refusal."""
    pool = opened("say(error='NotFound', reason=line.strip())")
    for call, asked in (
        (lambda: pool.allocate(2), '"op":"allocate","args":{"n":2}'),
        (lambda: pool.stage("a", 7), '"op":"stage","args":{"handle":"a","key":7,"parent":null}'),
        (lambda: pool.stage("a", 2**64 - 1, 7), f'"key":{2**64 - 1},"parent":7'),
        (lambda: pool.register("a"), '"op":"register","args":{"handle":"a"}'),
        (lambda: pool.match((1, 2)), '"op":"match","args":{"keys":[1,2]}'),
        (lambda: pool.scan([1]), '"op":"scan","args":{"keys":[1]}'),
        (lambda: pool.release("a"), '"op":"release","args":{"handle":"a"}'),
        (lambda: pool.reset("a"), '"op":"reset","args":{"handle":"a"}'),
    ):
        with pytest.raises(SubjectError) as refused:
            call()
        assert refused.value.kind == "NotFound"
        assert asked in str(refused.value)


@pytest.mark.parametrize(
    ("result", "call", "expected"),
    [
        ("['a', 'b']", lambda pool: pool.allocate(2), ["a", "b"]),
        ("None", lambda pool: pool.allocate(9), None),
        ("'c'", lambda pool: pool.stage("a", 1), "c"),
        ("'b'", lambda pool: pool.register("a"), "b"),
        ("[]", lambda pool: pool.match([1]), []),
        ("[[2, 'b'], [1, 'a']]", lambda pool: pool.scan([2, 1]), {2: "b", 1: "a"}),
        ("0 or None", lambda pool: pool.release("a"), None),
        ("'d'", lambda pool: pool.reset("a"), "d"),
    ],
)
def test_results_arrive_as_the_calls_promise(opened: Open, result, call, expected) -> None:
    assert call(opened(f"say(ok={result})")) == expected


EVERYTHING = "{" + ", ".join(f"'{word}': True" for word in SPOKEN) + "}"


def test_further_abilities_are_spoken_as_the_protocol_says(opened: Open) -> None:
    pool: Any = opened("say(error='NotFound', reason=line.strip())", EVERYTHING)
    for call, asked in (
        (lambda: pool.downgrade("a"), '"op":"downgrade","args":{"handle":"a"}'),
        (lambda: pool.upgrade("w"), '"op":"upgrade","args":{"weak":"w"}'),
        (pool.evict_all, '"op":"evict_all","args":{}'),
        (lambda: pool.forget((1, 2)), '"op":"forget","args":{"keys":[1,2]}'),
        (lambda: pool.pin([1]), '"op":"pin","args":{"keys":[1]}'),
        (lambda: pool.unpin([1]), '"op":"unpin","args":{"keys":[1]}'),
        (pool.counters, '"op":"counters","args":{}'),
    ):
        with pytest.raises(SubjectError, match="NotFound") as refused:
            call()
        assert asked in str(refused.value)


@pytest.mark.parametrize(
    ("result", "call", "expected"),
    [
        ("'w'", lambda pool: pool.downgrade("a"), "w"),
        ("'b'", lambda pool: pool.upgrade("w"), "b"),
        ("None", lambda pool: pool.upgrade("w"), None),
        ("3", lambda pool: pool.evict_all(), 3),
        ("[2, 1]", lambda pool: pool.forget([1, 2, 3]), [2, 1]),
        ("{'hits': 2}", lambda pool: pool.counters(), {"hits": 2}),
    ],
)
def test_results_of_further_abilities_arrive(opened: Open, result, call, expected) -> None:
    assert call(opened(f"say(ok={result})", EVERYTHING)) == expected


def test_a_program_has_the_abilities_that_it_declares_and_no_others(
    opened: Open, tmp_path: Path
) -> None:
    opened("pass", "{'pins': True, 'counters': True}").close()
    with ProcessSubject([sys.executable, str(tmp_path / "program.py")]) as subject:
        able = {name for name in abilities.ABILITIES if abilities.has(subject, name, CONFIG)}
    assert able == {"pins", "counters"}


def test_events_are_kept_until_they_are_drained_even_those_of_several_calls(opened: Open) -> None:
    pool = opened("say(ok=[], events=[['Stored', 2**64 - 1], ['Removed', 1], ['Cleared']])")
    pool.match([])
    one = [Event("Stored", 2**64 - 1), Event("Removed", 1), Event("Cleared")]
    assert pool.drain_events() == one
    assert pool.drain_events() == []
    pool.match([])
    pool.match([])
    assert pool.drain_events() == one * 2


def test_what_a_program_declares_is_what_its_subject_declares(opened: Open, tmp_path: Path) -> None:
    opened("pass", "{'policies': ['fifo', 'lru'], 'events': False}").close()
    command = f"{sys.executable} '{tmp_path / 'program.py'}'"
    with ProcessSubject(command) as subject:
        assert (subject.name, subject.version, subject.spec_version) == ("toy", "1", "1.0")
        assert subject.capabilities() == Capabilities(policies=("fifo", "lru"), events=False)


def test_a_manager_shows_as_much_as_its_program_declares(opened: Open) -> None:
    plain = opened("pass")
    assert not isinstance(plain, Inspectable)
    assert not isinstance(plain, Storing)
    seen = {
        "slots": [{"state": "inactive", "key": 7, "holders": 0}, {"state": "free"}],
        "registry": [[7, 0]],
        "free": [1],
        "inactive": [0],
        "available": 2,
    }
    pool = opened(f"say(ok={seen})", "{'snapshot': True}")
    assert isinstance(pool, Inspectable)
    snapshot = pool.snapshot()
    assert snapshot.slots == (SlotView("inactive", 7, 0), SlotView("free"))
    assert (snapshot.registry, snapshot.free, snapshot.inactive) == ({7: 0}, (1,), (0,))
    both = opened("say(ok=args.get('data', '00ff'))", "{'snapshot': True, 'bytes': True}")
    assert isinstance(both, Inspectable)
    assert isinstance(both, Storing)
    both.write("a", b"\x01")
    assert both.read("a") == b"\x00\xff"


def _program_of(pool: ProcessManager) -> str:
    return str(pool.register("a"))


def test_a_program_serves_the_next_pool_after_the_last_was_closed_or_forgotten(
    opened: Open, tmp_path: Path
) -> None:
    opened("say(ok=str(pid))").close()
    with ProcessSubject([sys.executable, str(tmp_path / "program.py")]) as subject:
        first = subject.open(CONFIG, Env())
        second = subject.open(CONFIG, Env())
        programs = _program_of(first), _program_of(second)
        assert programs[0] != programs[1], "two pools at once need two programs"
        first.close()
        assert _program_of(first) == programs[0], "a closed pool can still be asked"
        third = subject.open(CONFIG, Env())
        assert _program_of(third) == programs[0]
        with pytest.raises(SubjectError, match="Closed"):
            first.allocate(1)
        first.close()  # idempotent, and does not end the third
        del second
        gc.collect()
        assert _program_of(subject.open(CONFIG, Env())) == programs[1]


def test_what_a_pool_may_use_is_told_when_it_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    text = PROGRAM.replace("REACTION", "say(ok=opened)").replace("CAPABILITIES", "{}")
    remember = 'elif op in ("open", "close"):\n        opened = json.dumps(args)'
    file.write_text(text.replace('elif op in ("open", "close"):', remember), "utf-8")
    with ProcessSubject([sys.executable, str(file)]) as subject:
        config = PoolConfig(slots=3, block_size=8, duplicates="allow", policy="fifo")
        pool = subject.open(config, Env(seed=5, scratch=tmp_path))
        assert json.loads(pool.register("a")) == {
            "config": {"slots": 3, "block_size": 8, "duplicates": "allow", "policy": "fifo"},
            "seed": 5,
            "scratch": str(tmp_path),
        }


# ── an adapter that is broken ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reaction", "words"),
    [
        ("raw('hello?')", "this is not JSON: 'hello"),
        ("raw('[1]')", "an answer is an object"),
        ('raw(\'{"id": 99, "ok": []}\')', "the request has id"),
        ("raw('{\"ok\": []}')", "the request has id"),
        ("say(ok=[]); say(ok=[])" + "; time.sleep(0)", "one answer more"),
        ("say()", "either ok or error"),
        ("say(ok=[], error='NotFound')", "either ok or error"),
        ("say(error='Oops')", "no kind of refusal 'Oops'"),
        ("say(ok=[1])", "handles are different strings"),
        ("say(ok=['a', 'a'])", "handles are different strings"),
        ("say(ok='a')", "handles are different strings"),
        ("say(ok=[], events=[['Moved', 1]])", "an event is"),
        ("say(ok=[], events=[['Stored']])", "an event is"),
        ("say(ok=[], events=7)", "an event is"),
        ("sys.stdout.write('x' * LONG)", "an answer may have 1000000 bytes"),
    ],
)
def test_an_answer_out_of_form_is_an_error_of_the_adapter(opened: Open, reaction, words) -> None:
    two_at_once = reaction.replace(
        "say(ok=[]); say(ok=[])", "raw((json.dumps({'id': request['id'], 'ok': []}) + chr(10)) * 2)"
    )
    pool = opened(two_at_once.replace("LONG", str(LONGEST_ANSWER + 70_000)))
    with pytest.raises(AdapterError, match="match: ") as broken:
        pool.match([])
    assert words in str(broken.value)
    assert not pool._pipe.alive
    with pytest.raises(ProgramFailed, match="was stopped before"):
        pool.match([])


@pytest.mark.parametrize(
    ("reaction", "call", "words"),
    [
        ("say(ok=3)", lambda pool: pool.scan([1]), "pairs are"),
        ("say(ok=[['a', 'a']])", lambda pool: pool.scan([1]), "pairs are"),
        ("say(ok=7)", lambda pool: pool.snapshot(), "another form"),
        ("say(ok={'slots': []})", lambda pool: pool.snapshot(), "another form"),
        ("say(ok='xy')", lambda pool: pool.read("a"), "hexadecimal"),
        ("say(ok=7)", lambda pool: pool.downgrade("a"), "different strings"),
        ("say(ok=['w'])", lambda pool: pool.upgrade("w"), "different strings"),
        ("say(ok=None)", lambda pool: pool.evict_all(), "a number"),
        ("say(ok=True)", lambda pool: pool.evict_all(), "a number"),
        ("say(ok=3)", lambda pool: pool.forget([3]), "a number"),
        ("say(ok=['3'])", lambda pool: pool.forget([3]), "a number"),
        ("say(ok=[])", lambda pool: pool.counters(), "counters are an object"),
    ],
)
def test_a_result_out_of_form_is_an_error_of_the_adapter(opened: Open, reaction, call, words):
    with pytest.raises(AdapterError, match=words):
        call(opened(reaction, EVERYTHING))


@pytest.mark.parametrize("wrong", ["7", "{'speed': 9}"])
def test_capabilities_that_do_not_exist_are_an_error_of_the_adapter(opened: Open, wrong) -> None:
    with pytest.raises(AdapterError, match="capabilities"):
        opened("pass", wrong)


def test_a_request_that_is_too_long_is_a_mistake_of_the_caller(opened: Open) -> None:
    pool = opened("say(ok=[])")
    with pytest.raises(ValueError, match="a request may have 60000 bytes"):
        pool.match(range(20_000))
    assert pool.match(range(10_000)) == []


# ── a program that fails ──────────────────────────────────────────────────────────────────


def test_a_program_that_dies_is_a_find_with_the_end_of_what_it_said(opened: Open) -> None:
    pool = opened("sys.exit('x' * 5000 + ' assertion failed: refs >= 0')")
    with pytest.raises(ProgramFailed) as failed:
        pool.match([])
    text = str(failed.value)
    assert text.startswith("match: the program ended with 1; stderr ends with:\nxxx")
    assert text.endswith("assertion failed: refs >= 0")
    assert len(text) < 2_200


@pytest.mark.clause("KV-LIV-04")
def test_a_program_that_is_silent_is_a_find_after_the_deadline(opened: Open) -> None:
    pool = opened("print('waiting', file=sys.stderr, flush=True); time.sleep(60)", deadline=0.3)
    with pytest.raises(ProgramFailed, match=r"no answer within 0.3 s; stderr ends with:\nwaiting"):
        pool.match([])


def test_a_program_that_dies_before_it_is_asked_is_a_find(opened: Open) -> None:
    pool = opened("say(ok=[]); os._exit(3)")
    assert pool.match([]) == []
    pool._pipe._program.wait()
    with pytest.raises(ProgramFailed, match="the program ended with 3"):
        pool.match([])


def test_after_a_failure_the_next_pool_gets_a_new_program(opened: Open, tmp_path: Path) -> None:
    opened("sys.exit(1) if args['handle'] == 'die' else say(ok=str(pid))").close()
    with ProcessSubject([sys.executable, str(tmp_path / "program.py")]) as subject:
        pool = subject.open(CONFIG, Env())
        with pytest.raises(ProgramFailed):
            pool.register("die")
        del pool  # gives back a program that is dead
        gc.collect()
        assert _program_of(subject.open(CONFIG, Env()))


def test_a_command_that_does_not_exist_says_so() -> None:
    with pytest.raises(FileNotFoundError):
        ProcessSubject("./no-such-program")


def test_closing_a_subject_ends_all_its_programs(opened: Open, tmp_path: Path) -> None:
    opened("say(ok=str(pid))").close()
    subject = ProcessSubject([sys.executable, str(tmp_path / "program.py")])
    pools = [subject.open(CONFIG, Env()) for _ in range(2)]
    subject.close()
    subject.close()
    assert not any(pool._pipe.alive for pool in pools)
