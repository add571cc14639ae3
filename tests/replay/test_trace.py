"""Reading traces: both forms, three packings, and a reason for every line that is refused."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import TraceError
from kvbm.replay.trace import Request, read_trace

MOONCAKE = {"timestamp": 1500, "input_length": 1025, "output_length": 7, "hash_ids": [4, 9, 2]}
DELTA = {"c": "a", "t": 0.5, "in": 200, "out": 3, "keep": 0, "add": [[7, 3]]}


def written(folder: Path, *records: Any) -> Path:
    path = folder / "trace.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def refusal(path: Path) -> TraceError:
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert caught.value.path == str(path)
    return caught.value


def test_a_mooncake_line_is_a_request(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, MOONCAKE))
    assert trace.requests == (Request(1.5, 1025, 7, (4, 9, 2)),)
    assert (trace.name, trace.block_size, trace.partial_ids) == ("trace.jsonl", 512, True)


def test_delta_lines_keep_and_add(tmp_path: Path) -> None:
    trace = read_trace(
        written(
            tmp_path,
            DELTA,
            DELTA | {"in": 64 * 4 + 63, "keep": 2, "add": [[20, 1], [9, 1]]},
            DELTA | {"in": 63, "add": []},
        )
    )
    first, second, third = (request.ids for request in trace.requests)
    assert len(first) == 3
    assert second[:2] == first[:2]
    assert second[3] == first[2], "id 9 of the same conversation is the same block"
    assert second[2] not in first
    assert third == ()
    assert (trace.block_size, trace.partial_ids) == (64, False)
    assert {request.arrival for request in trace.requests} == {None}


def test_equal_ids_of_two_conversations_are_different_blocks(tmp_path: Path) -> None:
    other = DELTA | {"c": "b"}
    trace = read_trace(written(tmp_path, DELTA, other, DELTA))
    first, second, again = (set(request.ids) for request in trace.requests)
    assert not first & second
    assert first == again


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
def test_packing_is_recognised_by_content(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(pack(json.dumps(MOONCAKE).encode()))
    assert len(read_trace(path).requests) == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
def test_a_dash_is_standard_input(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    buffer = io.BufferedReader(io.BytesIO(pack(json.dumps(DELTA).encode() + b"\n")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))
    trace = read_trace("-")
    assert (trace.name, len(trace.requests)) == ("stdin", 1)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_refused_whole(
    tmp_path: Path, pack: Callable[[bytes], bytes], damage: str
) -> None:
    lines = "".join(json.dumps(MOONCAKE | {"timestamp": n}) + "\n" for n in range(5000))
    packed = bytearray(pack(lines.encode()))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    else:
        packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "trace"
    path.write_bytes(packed)
    error = refusal(path)
    # Deflate may give wrong text before its checksum, at the end, gives the damage away.
    assert "cannot read on" in error.reason or damage == "flipped"


def test_a_line_that_was_cut_off_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, MOONCAKE, MOONCAKE)
    path.write_bytes(path.read_bytes()[:-20])
    assert (refusal(path).line, refusal(path).reason[:8]) == (2, "not JSON")


def test_blank_lines_count_but_do_not_hurt(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(f"\n  \n{json.dumps(MOONCAKE)}\n\n{{}}\n")
    assert refusal(path).line == 5


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trace"
    path.write_text(content)
    assert str(refusal(path)) == f"{path}:1: there is no request in it"


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "absent")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes, at column 2"),
        (b"[1]", "a JSON object was expected, and this is a list"),
        (b"\xff\xff", "not JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b'{"x": 1}', "this is no known form of a trace"),
        (b'{"timestamp": NaN}', "timestamp = nan: must be finite and not negative"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(line + b"\n")
    assert refusal(path).reason.startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timestamp": "1"}, "timestamp = '1': must be a number"),
        ({"timestamp": True}, "timestamp = True: must be a number"),
        ({"timestamp": -1}, "timestamp = -1: must be finite and not negative"),
        ({"timestamp": 10**400}, "timestamp = a number of more than 20 digits: must be finite"),
        ({"input_length": 0}, "input_length = 0: must be in 1 … 2147483647"),
        ({"input_length": 1025.0}, "input_length = 1025.0: must be a whole number"),
        ({"input_length": True}, "input_length = True: must be a whole number"),
        ({"output_length": -1}, "output_length = -1: must be in 0 … 2147483647"),
        ({"output_length": None}, "output_length = None: must be a whole number"),
        ({"hash_ids": "4, 9, 2"}, "hash_ids = '4, 9, 2': must be a list"),
        (
            {"hash_ids": [4, 9]},
            "hash_ids has 2 ids, but 1025 input tokens are 3 blocks of 512",
        ),
        ({"input_length": 1024}, "hash_ids has 3 ids, but 1024 input tokens are 2 blocks of 512"),
        ({"hash_ids": [4, 9, 4]}, "hash_ids[2] repeats an id of the same request"),
        ({"hash_ids": [4, -9, 2]}, "hash_ids[1] = -9: an id must be a whole number"),
        ({"hash_ids": [4, 9, False]}, "hash_ids[2] = False: an id must be a whole number"),
        ({"hash_ids": [2**64, 9, 2]}, "hash_ids[0] = 18446744073709551616: an id must be"),
    ],
)
def test_a_wrong_mooncake_line_has_a_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    error = refusal(written(tmp_path, MOONCAKE, MOONCAKE | change))
    assert error.line == 2
    assert error.reason.startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"c": 1}, "c = 1: must be a string"),
        ({"t": None}, "t = None: must be a number"),
        ({"in": -1}, "in = -1: must be in 1 …"),
        ({"out": "3"}, "out = '3': must be a whole number"),
        ({"keep": 4}, "keep = 4, but the line before it in this conversation has 3 ids"),
        ({"keep": 1, "c": "b"}, "keep = 1, but the line before it in this conversation has 0 ids"),
        ({"keep": -1}, "keep = -1: must be in 0 …"),
        ({"add": {"7": 3}}, "add = {'7': 3}: must be a list"),
        ({"add": [[7]]}, "add[0] = [7]: must be [first, count]"),
        ({"add": [[7, 1], 8]}, "add[1] = 8: must be [first, count]"),
        ({"add": [[7, -3]]}, "add[0][1] = -3: an id must be a whole number"),
        ({"add": [[7, 10**15]]}, "keep and add give 1000000000000000 ids, but 200 input tokens"),
        ({"add": [[7, 2]]}, "keep and add give 2 ids, but 200 input tokens are 3 full blocks"),
        ({"keep": 2, "add": [[8, 1]]}, "ids[2] repeats an id of the same request"),
    ],
)
def test_a_wrong_delta_line_has_a_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    error = refusal(written(tmp_path, DELTA, DELTA | change))
    assert error.line == 2
    assert error.reason.startswith(reason)


@pytest.mark.parametrize("record", [MOONCAKE, DELTA])
def test_a_missing_key_is_named(tmp_path: Path, record: dict[str, Any]) -> None:
    for key in record:
        rest = {name: value for name, value in record.items() if name != key}
        assert refusal(written(tmp_path, rest)).reason == f"the key {key!r} is missing"


def test_two_forms_in_one_file_are_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, MOONCAKE, DELTA)).reason == (
        "the file begins in the Mooncake form, and this line is in the delta form"
    )
    assert "begins in the delta form" in refusal(written(tmp_path, DELTA, MOONCAKE)).reason


def test_progress_counts_lines(tmp_path: Path) -> None:
    seen: list[int] = []
    read_trace(written(tmp_path, *[MOONCAKE] * 2500), seen.append)
    assert seen == [1000, 2000]


plain_values = (
    st.none() | st.booleans() | st.integers(-2, 2**65) | st.floats() | st.text(max_size=3)
)
values = plain_values | st.lists(
    plain_values | st.lists(st.integers(-1, 5), max_size=3), max_size=3
)
changes = st.dictionaries(st.sampled_from(sorted(MOONCAKE | DELTA)), values, max_size=3)


@given(base=st.sampled_from([MOONCAKE, DELTA]), change=changes)
def test_any_line_is_a_request_or_an_error_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory, base: dict[str, Any], change: dict[str, Any]
) -> None:
    path = written(tmp_path_factory.getbasetemp(), base | change)
    try:
        trace = read_trace(path)
    except TraceError as error:
        trouble = error
    else:
        (request,) = trace.requests
        full, rest = divmod(request.input_tokens, trace.block_size)
        assert len(set(request.ids)) == full + (trace.partial_ids and rest > 0)
        return
    assert trouble.line == 1
    assert trouble.reason


@pytest.mark.parametrize(
    ("name", "requests", "references", "distinct", "input_tokens", "output_tokens"),
    [
        ("mooncake_conversation", 12_031, 288_500, 182_790, 144_793_823, 4_122_048),
        ("mooncake_synthetic", 3_993, 121_877, 43_924, 61_194_628, 595_432),
        ("claude_code_subset_delta", 3_096, 6_127_654, 226_890, 392_268_115, 1_322_142),
    ],
)
def test_the_published_traces_are_read_whole(
    published: Callable[[str], Path],
    name: str,
    requests: int,
    references: int,
    distinct: int,
    input_tokens: int,
    output_tokens: int,
) -> None:
    trace = read_trace(published(name))
    assert len(trace.requests) == requests
    assert sum(len(request.ids) for request in trace.requests) == references
    assert len({name for request in trace.requests for name in request.ids}) == distinct
    assert sum(request.input_tokens for request in trace.requests) == input_tokens
    assert sum(request.output_tokens for request in trace.requests) == output_tokens
