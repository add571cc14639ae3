"""Media in a prompt: the objects of Dynamo's router and the runs of KVBM v2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import IdentityError, InvalidMultimodalRun
from kvbm.identity import MultimodalRun, TokenBlockSequence, Windows, block_hashes
from kvbm.identity.multimodal import checked_runs, object_contents, run_content, run_contents
from kvbm.identity.tokens import as_tokens

TOKENS = range(1, 13)
RUN = MultimodalRun(object_hash=0xABCD, offset=3, length=3)


def test_objects_follow_the_tokens_in_ascending_order() -> None:
    contents = object_contents(Windows(as_tokens(TOKENS), 4), [None, [9, 7], [], [5]])
    assert list(contents) == [1]
    assert contents[1].tokens.hex() == "05000000060000000700000008000000"
    assert contents[1].media.hex() == "07000000000000000900000000000000"


@pytest.mark.clause("KV-IDN-03", "KV-IDN-08")
def test_every_bit_of_an_object_changes_the_hash() -> None:
    hashes = {int(block_hashes(TOKENS, 12, mm=[[1 << bit]])[0]) for bit in range(64)}
    hashes.add(int(block_hashes(TOKENS, 12)[0]))
    assert len(hashes) == 65


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True, "a"])
def test_an_object_hash_has_64_bits(value: object) -> None:
    with pytest.raises(IdentityError, match=r"mm\[1\]\[1\] = .*: must be in 0 … 2"):
        block_hashes(TOKENS, 4, mm=[None, [1, value]])  # type: ignore[list-item]


def test_the_frames_of_a_run_that_crosses_a_block() -> None:
    contents = run_contents(Windows(as_tokens(TOKENS), 4), 0, [RUN])
    assert {block: content.media.hex(" ", 13).split() for block, content in contents.items()} == {
        0: [
            "00010000000000000000000000",
            "00020000000000000000000000",
            "00030000000000000000000000",
            "0100000000cdab000000000000",
        ],
        1: [
            "0101000000cdab000000000000",
            "0102000000cdab000000000000",
            "00070000000000000000000000",
            "00080000000000000000000000",
        ],
    }
    assert [content.tokens for content in contents.values()] == [b"", b""]


@pytest.mark.clause("KV-IDN-02")
def test_the_hashes_of_a_sequence_with_a_run() -> None:
    sequence = TokenBlockSequence(TOKENS, 4, runs=[RUN])
    assert sequence.block_hashes == [
        5946863786358946201,
        3070995957410343047,
        483935686894639516,
    ]
    assert sequence.sequence_hashes == [
        5946863786358946201,
        11974425609758329498,
        7290453829311660718,
    ]


@pytest.mark.clause("KV-IDN-03")
def test_hash_offset_and_length_of_a_run_change_the_hash() -> None:
    runs = [RUN, RUN._replace(object_hash=0xABCE), RUN._replace(offset=2), RUN._replace(length=2)]
    hashes = [TokenBlockSequence(TOKENS, 12, runs=[run]).block_hashes[0] for run in runs]
    assert len(set(hashes)) == len(runs)


def test_the_tokens_under_placeholders_do_not_matter() -> None:
    other = [1, 2, 3, 90, 91, 92, *range(7, 13)]
    assert (
        TokenBlockSequence(TOKENS, 4, runs=[RUN]).sequence_hashes
        == TokenBlockSequence(other, 4, runs=[RUN]).sequence_hashes
    )


@given(
    count=st.integers(0, 40),
    block_size=st.integers(1, 9),
    gaps=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 12)), max_size=4),
)
def test_exactly_the_blocks_that_a_run_touches_are_framed(
    count: int, block_size: int, gaps: list[tuple[int, int]]
) -> None:
    runs, free = [], 0
    for gap, length in gaps:
        if free + gap + length <= count:
            runs.append(MultimodalRun(len(runs), free + gap, length))
            free = runs[-1].end
    windows = Windows(as_tokens(range(count)), block_size)
    contents = run_contents(windows, 0, checked_runs(reversed(runs), 0, count))
    under = {token for run in runs for token in range(run.offset, run.end)}
    for block in range(len(windows)):
        first = block * block_size
        tokens = windows.tokens[first : first + block_size]
        if under.isdisjoint(range(first, first + block_size)):
            assert block not in contents
            assert run_content(tokens, first, runs) == windows.content(block)
        else:
            assert contents[block] == run_content(tokens, first, runs)
            framed = contents[block].media
            assert len(framed) == 13 * block_size
            kinds = [framed[13 * slot] for slot in range(block_size)]
            assert kinds == [int(first + slot in under) for slot in range(block_size)]
    assert list(contents) == sorted(contents)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([(1, 3, 0)], "multimodal run at token 3: its length is 0"),
        ([(2**64, 3, 1)], "multimodal run at token 3: its hash 18446744073709551616 has no 64"),
        ([(-1, 3, 1)], "multimodal run at token 3: its hash -1 has no 64 bits"),
        ([(1, 10, 3)], "multimodal run at token 10: ends at 13, past the 12 tokens"),
        ([(1, 10, 2**64)], "multimodal run at token 10: ends at 18446744073709551626, past"),
        ([(1, -1, 3)], "multimodal run at token -1: starts before the new tokens"),
        ([(1, 4, 2), (2, 3, 2)], "multimodal run at token 4: overlaps the run before it"),
    ],
)
def test_a_run_that_cannot_be_is_refused(runs: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(InvalidMultimodalRun, match=message):
        TokenBlockSequence(TOKENS, 4, runs=[MultimodalRun(*run) for run in runs])
