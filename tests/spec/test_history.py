"""Recorded histories: those that can have been are accepted, and no others."""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from kvbm_spec import command, linear
from kvbm_spec.history import Call, History, Malformed, read
from kvbm_spec.linear import Impossible, Undecided, check
from kvbm_spec.record import Recorded, Recorder
from kvbm_spec.subject import Env, PoolConfig, SubjectError
from kvbm_spec.witness import Witness

from kvbm.cli.subject import KvbmSubject

CONFIG = {"type": "config", "slots": 2}


def history(*calls: str, slots: int = 2, **config: Any) -> History:
    """Write a history down shortly: `a> op {args}`, then `a: ok …`, `a! kind` or `a?`."""
    lines = [{"type": "config", "slots": slots, **config}]
    doing: dict[str, str] = {}
    for seq, text in enumerate(calls):
        client, mark, rest = text[0], text[1], text[2:].strip()
        line: dict[str, Any] = {"seq": seq, "client": client}
        if mark == ">":
            op, _, args = rest.partition(" ")
            doing[client] = op
            line |= {"op": op, "type": "invoke", "args": json.loads(args)}
        elif mark == ":":
            result, _, events = rest.partition("|")
            line |= {"op": doing[client], "type": "ok", "result": json.loads(result)}
            line |= {"events": json.loads(events)} if events else {}
        elif mark == "!":
            line |= {"op": doing[client], "type": "fail", "error": rest}
        else:
            line |= {"op": doing[client], "type": "info"}
        lines.append(line)
    return read(map(json.dumps, lines))


REGISTER = (
    'a> allocate {"n": 1}',
    'a: ["s0"]',
    'a> stage {"handle": "s0", "key": "K"}',
    'a: "s1"',
    'a> register {"handle": "s1"}',
    'a: "s2" | [["Stored", "K"]]',
)


# ── one client ────────────────────────────────────────────────────────────────────────────


def test_calls_one_after_the_other_that_answer_as_the_model_are_accepted() -> None:
    assert not check(
        history(
            *REGISTER,
            'a> match {"keys": ["K", "L"]}',
            'a: ["s3"] | []',
            'a> scan {"keys": ["L", "K"]}',
            'a: [["K", "s4"]]',
            'a> release {"handle": "s2"}',
            "a: null",
            'a> release {"handle": "s2"}',
            "a! StaleHandle",
            'a> allocate {"n": 2}',
            "a: null",
            'a> reset {"handle": "s3"}',
            "a! WrongState",
        )
    )


@pytest.mark.clause("KV-REG-01", "KV-EVT-04")
@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (
            ['a> match {"keys": ["L"]}', 'a: ["s3"]'],
            "event 7, client a: match(keys=['L']): answered ['s3']; the model: 0 handles",
        ),
        (['a> match {"keys": ["K"]}', "a: []"], "the model: 1 handles"),
        (['a> match {"keys": ["K"]}', 'a: ["s2"]'], "answered ['s2']"),
        (['a> match {"keys": ["K", "K"]}', 'a: ["s3", "s3"]'], "the model: 2 handles"),
        (['a> allocate {"n": 2}', 'a: ["s3", "s4"]'], "the model: None"),
        (['a> allocate {"n": 1}', "a: null"], "the model: 1 handles"),
        (['a> allocate {"n": 1}', "a! Exhausted"], "answered Exhausted; the model: 1 handles"),
        (['a> release {"handle": "s1"}', "a: null"], "the model: StaleHandle"),
        (['a> release {"handle": "s2"}', "a! StaleHandle"], "StaleHandle; the model: None"),
        (['a> match {"keys": []}', 'a: [] | [["Removed", "K"]]'], "with events [('Removed', 'K')]"),
        (['a> scan {"keys": ["K"]}', "a: []"], "the model: handles of ['K']"),
        (['a> scan {"keys": ["K"]}', 'a: [["L", "s3"]]'], "the model: handles of ['K']"),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_that_cannot_be_is_named(calls, words) -> None:
    found = check(history(*REGISTER, *calls, 'a> match {"keys": ["K"]}', 'a: ["s9"]'))
    assert isinstance(found, Impossible)
    assert found.seq == 7
    assert words in str(found)


def test_events_of_an_eviction_are_those_of_the_call_that_needed_the_room() -> None:
    evict = ['a> release {"handle": "s2"}', "a: null | []", 'a> allocate {"n": 2}']
    told = 'a: ["s3", "s4"] | [["Removed", "K"]]'
    assert not check(history(*REGISTER, *evict, told))
    found = check(history(*REGISTER, *evict, told.replace("Removed", "Stored")))
    assert "2 handles with events [('Removed', 'K')]" in str(found)


def test_the_config_decides_what_is_right() -> None:
    again = [
        *('a> allocate {"n": 1}', 'a: ["t0"]', 'a> stage {"handle": "t0", "key": "K"}', 'a: "t1"'),
        *('a> register {"handle": "t1"}', 'a: "t2"', 'a> allocate {"n": 1}'),
    ]
    rejected, allowed = (
        history(*REGISTER, *again, 'a: ["t3"]'),
        history(*REGISTER, *again, "a: null"),
    )
    assert not check(rejected)
    assert check(allowed)
    assert check(replace(rejected, duplicates="allow"))
    assert not check(replace(allowed, duplicates="allow"))


def test_a_long_history_of_one_client_takes_one_pass() -> None:
    calls = list(REGISTER)
    for number in range(3_000):
        calls += ['a> match {"keys": ["K"]}', f'a: ["m{number}"]']
        calls += [f'a> release {{"handle": "m{number}"}}', "a: null"]
    assert not check(history(*calls), limit=6_100)


# ── several clients ───────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-CON-01")
def test_a_call_that_overlaps_may_have_been_before_or_after() -> None:
    for answer in ("[]", '["s3"]'):
        overlapping = [*REGISTER[:5], 'b> match {"keys": ["K"]}', f"b: {answer}", REGISTER[5]]
        assert not check(history(*overlapping))
    found = check(history(*REGISTER, 'b> match {"keys": ["K"]}', "b: []"))
    assert found is not None
    assert (found.seq, found.call.client) == (7, "b")


@pytest.mark.clause("KV-CON-01", "KV-CON-02")
def test_two_takes_of_the_last_slot_cannot_both_have_it() -> None:
    both = ['a> allocate {"n": 1}', 'b> allocate {"n": 1}', 'b: ["s1"]']
    assert not check(history(*both, "a: null", slots=1))
    found = check(history(*both, 'a: ["s0"]', slots=1))
    assert found is not None
    assert (found.seq, found.instead) == (3, ("None",))


def test_what_one_order_explains_and_another_does_not_is_found_behind_a_wrong_turn() -> None:
    """The first order tried, by the beginnings, is wrong; the other is right to the end."""
    assert not check(
        history(
            'a> allocate {"n": 2}',
            'b> allocate {"n": 1}',
            "a: null",
            'b: ["s0"]',
            'a> allocate {"n": 1}',
            'a: ["s1"]',
        )
    )


def test_what_nobody_knows_may_have_happened_at_any_time_or_never() -> None:
    lost = ['b> allocate {"n": 1}', "b?"]
    for answer in ("null", '["s1", "s2"]'):
        assert not check(history(*lost, 'a> allocate {"n": 2}', f"a: {answer}"))
    both = [*lost, 'a> allocate {"n": 2}', "a: null", 'a> allocate {"n": 2}', 'a: ["s1", "s2"]']
    found = check(history(*both))
    assert found is not None
    assert found.seq == 5, "once it has happened it stays so"
    late = [
        *lost,
        'a> allocate {"n": 2}',
        'a: ["s1", "s2"]',
        'a> release {"handle": "s1"}',
        "a: null",
    ]
    assert not check(history(*late, 'a> allocate {"n": 1}', "a: null"))


def test_a_call_that_has_not_ended_yet_is_one_that_nobody_knows_of() -> None:
    for answer in ("null", '["s1", "s2"]'):
        assert not check(history('b> allocate {"n": 1}', 'a> allocate {"n": 2}', f"a: {answer}"))


def test_the_first_impossible_event_does_not_depend_on_how_later_ones_end() -> None:
    """Call b's answer is wrong too, but when a ends it could still have become right."""
    found = check(
        history(
            'b> allocate {"n": 2}',
            'a> allocate {"n": 2}',
            "a: null",
            "b: null",
        )
    )
    assert found is not None
    assert found.seq == 3


def test_what_two_orders_lead_to_is_one_state_only_if_no_later_call_can_tell() -> None:
    """A call that is open to the end keeps the search at a choice, whose first try is wrong."""
    open_call, take = 'c> release {"handle": "v"}', 'a> allocate {"n": 2}'
    named = [
        *(f'a> stage {{"handle": "{h}", "key": "{k}"}}' for h, k in (("s0", "K"), ("s1", "L"))),
        *('a> register {"handle": "t0"}', 'a> register {"handle": "t1"}'),
    ]
    answers = ['a: "t0"', 'a: "t1"', 'a: "u0"', 'a: "u1"']
    two = [open_call, take, 'a: ["s0", "s1"]', *itertools.chain(*zip(named, answers, strict=True))]
    both = ['a> release {"handle": "u0"}', 'b> release {"handle": "u1"}', "a: null", "b: null"]
    for victim in "KL":
        evicted = f'a: ["v"] | [["Removed", "{victim}"]]'
        assert not check(history(*two, *both, 'a> allocate {"n": 1}', evicted, "c: null"))

    same = [text.replace('"L"', '"K"') for text in two[:-4]]
    overlap = ['a> register {"handle": "t0"}', 'b> register {"handle": "t1"}', 'a: "u0"', 'b: "u1"']
    for handle in ("u0", "u1"):  # the one that came second is the duplicate, whose slot is free
        let_go = [f'a> release {{"handle": "{handle}"}}', "a: null"]
        calls = [*same, *overlap, *let_go, 'a> allocate {"n": 1}', 'a: ["v"]', "c: null"]
        assert not check(history(*calls, duplicates="allow"))


def test_no_state_is_looked_at_twice() -> None:
    calls = [f'{client}> allocate {{"n": 1}}' for client in "abcdefgh"]
    calls += [f'{client}: ["{client}"]' for client in "abcdefgh"]
    assert check(history(*calls, slots=7), limit=2_000)


def test_a_search_that_grows_too_far_is_given_up() -> None:
    calls = [f'{client}> allocate {{"n": 1}}' for client in "abcdefgh"]
    calls += [f'{client}: ["{client}"]' for client in "abcdefgh"]
    assert not check(history(*calls, slots=8))
    with pytest.raises(Undecided, match="after 20 states"):
        check(history(*calls, slots=7), limit=20)
    assert check(history(*calls, slots=7))


# ── by chance, and by trying all orders ───────────────────────────────────────────────────


def happened(seed: int, clients: int, calls: int) -> History:
    """Make a history that can have been: each call takes effect between its two lines."""
    choose = random.Random(seed)
    made = History(slots=choose.randint(1, 2))
    pool, seq, names = Witness(made), itertools.count(), itertools.count()
    doing: dict[int, Call] = {}
    effected: set[int] = set()
    while len(made.calls) < calls or doing:
        client = choose.randrange(clients)
        call = doing.get(client)
        if call is None and len(made.calls) < calls:
            op = choose.choice(("allocate", "stage", "register", "match", "release"))
            handle = {"handle": choose.choice([*pool.handles, "none"])}
            args: dict[str, Any] = {
                "allocate": {"n": choose.randint(0, 2)},
                "stage": handle | {"key": choose.choice("KL")},
                "match": {"keys": ["K", "L"]},
            }.get(op, handle)
            doing[client] = Call(str(client), op, args, next(seq))
            made.calls.append(doing[client])
        elif call is not None and client not in effected:
            effected.add(client)
            _take_effect(pool, call, names)
        elif call is not None:
            del doing[client]
            effected.remove(client)
            call.ended = next(seq)
    return made


def _take_effect(pool: Witness, call: Call, names: itertools.count[int]) -> None:
    """Let the call happen, and record what the model answers."""
    for result, error in _answers(call.op, names):
        guess = replace(call, ended=0, result=result, error=error)
        if pool.copy().apply(guess) is None:
            pool.apply(guess)
            call.result, call.error = result, error
            return
    raise AssertionError(f"no answer fits {call}")


def _answers(op: str, names: itertools.count[int]) -> list[tuple[Any, str | None]]:
    """Give all answers that a call can have in so small a pool, with fresh handles."""
    fresh = [f"s{next(names)}" for _ in range(2)]
    refused: list[tuple[Any, str | None]] = [(None, "StaleHandle"), (None, "WrongState")]
    if op in ("allocate", "match"):
        found: list[tuple[Any, str | None]] = [([], None), (fresh[:1], None), (fresh, None)]
        return found + ([(None, None)] if op == "allocate" else [])
    return [*refused, (None if op == "release" else fresh[0], None)]


def in_some_order(history: History) -> bool:
    """Judge by trying all orders that respect who ended before whom began."""
    ended = [call for call in history.calls if call.ended is not None]
    for order in itertools.permutations(ended):
        place = {id(call): index for index, call in enumerate(order)}
        respects = all(
            place[id(one)] < place[id(two)]
            for one in ended
            for two in ended
            if one.ended is not None and one.ended < two.invoked
        )
        pool = Witness(history)
        if respects and all(pool.apply(call) is None for call in order):
            return True
    return False


def test_what_has_been_is_accepted() -> None:
    for seed in range(150):
        assert not check(happened(seed, clients=3, calls=30)), seed


def test_the_checker_agrees_with_trying_all_orders_on_histories_that_were_changed() -> None:
    verdicts = []
    for seed in range(250):
        choose = random.Random(seed)
        made = happened(seed, clients=3, calls=5)
        call = choose.choice(made.calls)
        call.result, call.error = choose.choice(_answers(call.op, itertools.count(1000)))
        found = check(made)
        assert (found is None) == in_some_order(made), seed
        verdicts.append(found is None)
        if found is not None:
            ends = [each.ended for each in made.calls if each.ended is not None]
            shorter = [replace(each) for each in made.calls if each.invoked < found.seq]
            for each in shorter:
                each.ended = each.ended if each.ended in ends and each.ended < found.seq else None
            assert not check(replace(made, calls=shorter)), "up to that event all could have been"
    assert 30 < sum(verdicts) < 220


# ── the product, recorded ─────────────────────────────────────────────────────────────────


def work(client: Recorded, seed: int, calls: int) -> None:
    """Use a pool as one of several threads, each with its own handles, also when used up."""
    choose = random.Random(seed)
    handles: list[str] = []
    for _ in range(calls):
        op = choose.choice(("allocate", "stage", "register", "match", "release", "scan", "reset"))
        handle = choose.choice(handles[-6:]) if handles else None
        with suppress(SubjectError):
            if op == "allocate" or handle is None:
                handles += client.allocate(choose.randint(1, 2)) or []
            elif op == "match":
                handles += client.match(choose.choice([[0], [1], [0, 1]]))
            elif op == "scan":
                handles += client.scan([0, 1]).values()
            elif op == "stage":
                handles.append(client.stage(handle, choose.randrange(2)))
            elif op == "release":
                client.release(handle)
            else:
                handles.append(getattr(client, op)(handle))


def recorded(seed: int, threads: int, calls: int) -> History:
    """Let threads use the product's pool, and give what was recorded."""
    lines: list[str] = []
    subject = KvbmSubject()
    config = PoolConfig(slots=3, policy="lru")
    manager = subject.open(config, Env())
    pen = Recorder(lines.append, config, subject.capabilities())
    workers = [
        threading.Thread(target=work, args=(pen.client(str(n), manager), seed + n, calls))
        for n in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return read(lines)


@pytest.mark.clause("KV-CON-01", "KV-CON-02")
def test_the_histories_of_the_product_with_threads_can_be_put_in_order() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        histories = [recorded(seed, threads=3, calls=25) for seed in range(0, 120, 3)]
    finally:
        sys.setswitchinterval(before)
    assert not [str(found) for each in histories if (found := check(each))]
    ops = {call.op for each in histories for call in each.calls if call.error is None}
    assert ops == {"allocate", "stage", "register", "match", "release", "scan", "reset"}
    assert sum(map(overlaps, histories)) > 20


def overlaps(history: History) -> int:
    """Count the calls that were begun while another was open."""
    ends = [call.ended or 0 for call in history.calls]
    return sum(max(ends[:n], default=0) > call.invoked for n, call in enumerate(history.calls))


# ── the form ──────────────────────────────────────────────────────────────────────────────

BEGIN = {"seq": 1, "client": "a", "op": "allocate", "type": "invoke", "args": {"n": 1}}
END = {"seq": 2, "client": "a", "op": "allocate", "type": "ok", "result": ["s0"]}


def test_lines_are_read_and_empty_ones_skipped() -> None:
    (call,) = read(["", *map(json.dumps, (CONFIG, BEGIN, END)), "\n"]).calls
    assert (call.client, call.op, call.args) == ("a", "allocate", {"n": 1})
    assert (call.invoked, call.ended, call.result, call.events) == (1, 2, ["s0"], None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "there is no line at all"),
        ([BEGIN], "line 1: the first line must be the config"),
        ([CONFIG, CONFIG], "line 2: a history has one config"),
        ([CONFIG, END], "line 2: this call was not begun"),
        ([CONFIG, BEGIN, BEGIN | {"seq": 2}], "line 3: client a has a call open"),
        ([CONFIG, BEGIN, END | {"seq": 1}], "line 3: seq 1 comes after 1"),
        ([CONFIG, BEGIN, END | {"op": "match"}], "line 3: this call was not begun"),
        ([CONFIG, BEGIN | {"op": "fly"}], "line 2: .* fits 0 of 5 forms"),
        ([CONFIG, BEGIN | {"args": {}}], "line 2: allocate has other arguments"),
        ([CONFIG, BEGIN | {"args": {"n": 1, "handle": "s"}}], "line 2: allocate has other arg"),
        ([CONFIG, BEGIN, END | {"result": 7}], "line 3: .* fits 0 of 5 forms"),
        ([CONFIG, BEGIN, END | {"result": "s0"}], "line 3: allocate has no such result: 's0'"),
        ([CONFIG, BEGIN, END | {"result": [["K", "s0"]]}], "line 3: allocate has no such result"),
        ([CONFIG | {"slots": 0}], "line 1: "),
    ],
    ids=str,
)
def test_what_is_no_history_is_refused_with_its_line(lines, words) -> None:
    with pytest.raises(Malformed, match=words):
        read(map(json.dumps, lines))


def test_what_is_no_json_is_refused_with_its_line() -> None:
    with pytest.raises(Malformed, match="line 2: "):
        read([json.dumps(CONFIG), "{"])


def test_a_file_is_judged_from_the_shell_and_the_exit_code_tells(tmp_path, capsys) -> None:
    file = tmp_path / "trace.ndjson"
    for lines, code, words in (
        ([CONFIG, BEGIN, END], 0, "possible: 1 calls of 1 clients"),
        ([CONFIG, BEGIN, END | {"result": []}], 1, "event 2, client a: allocate(n=1): answered []"),
        ([CONFIG, END], 2, "line 2: this call was not begun"),
    ):
        file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
        assert command.main(["check", "--history", str(file)]) == code
        assert words in "".join(capsys.readouterr())
    assert linear.main(str(tmp_path / "none")) == 2
