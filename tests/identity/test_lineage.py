"""128-bit forms: packing, text, wire, order and edges, against published numbers."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import IdentityError, InvalidPosition
from kvbm.identity import (
    PositionalLineageHash,
    PositionalSequenceHash,
    block_hashes,
    sequence_hashes,
)
from kvbm.identity.lineage import from_base58, to_base58

HASHES = st.integers(0, 2**64 - 1)
POSITIONS = st.one_of(
    st.integers(0, 2**24 - 1), st.sampled_from([0, 1, 255, 256, 65535, 65536, 2**24 - 1])
)

# Sequence hash, parent, position, number, text: worked examples of KVBM v2's rules.
PACKED = [
    (42, None, 0, 0x00000000000000000A80000000000000, "0:1111111j"),
    (0x1234, 0x5678, 1, 0x00400000000000048D00000000005678, "1:1111112PM:1111117af"),
    (
        0xDEADBEEFCAFEBABE,
        0x0123456789ABCDEF,
        255,
        0x3FF7AB6FBBF2BFAEAFA3456789ABCDEF,
        "255:eFGDJTv8RoB:12LXP2J7X82",
    ),
    (
        0xDEADBEEFCAFEBABE,
        0x0123456789ABCDEF,
        256,
        0x404037AB6FBBF2BFAEAF856789ABCDEF,
        "256:eFGDJTv8RoB:113h6PExxv",
    ),
    (1, 2**64 - 1, 65535, 0x7FFFC0000000000000007FFFFFFFFFFF, "65535:11111112:11YsU7xUni"),
    (1, 2**64 - 1, 65536, 0x80400000000000000000007FFFFFFFFF, "65536:11111112:1118Do288e"),
    (5, 7, 16777215, 0xBFFFFFC0000000000000014000000007, "16777215:11111116:11111118"),
]

# Tokens 1 … 12 in blocks of 4.
TWELVE = [
    (0x0032CE3935FECB729700000000000000, "0:azWbh91idkf"),
    (0x005128AC8DE75B4F0F78E4D7FB2DCA5C, "1:CUrLYDFnmBa:13A3sGnbCSf"),
    (0x00ABA8799E9B2033E122B2379D6D3C3D, "2:WD9tZKnMfx7:12KG5vAW7Me"),
]

# Block i holds tokens 4i … 4i + 3; the borders between the modes.
LONG_CHAIN = {
    0: (9143094415614847814, 0x001FB8B2FB71A52AD180000000000000),
    254: (12435799312103012664, 0x3FAB2535658BFC9E4E365EEC5EA8E506),
    255: (5174432162379516151, 0x3FD1F3D1A8BA3F323DD4D5962FF27938),
    256: (14477162775645430, 0x4040000CDBB9C826433D86A2E8FCC8F7),
    257: (15457705372869257448, 0x404075A13348D8213A3A2EE720990CF6),
    65534: (13555517312366507377, 0x7FFFAF07B7CB3990DD5C6E3DBDAA86B0),
    65535: (2709850028609401021, 0x7FFFC966D48F97761C2F5F2CE6437571),
    65536: (10663640026287764312, 0x80400024FF3706C0E13CD63E5DD870BD),
    65537: (10757909495909238156, 0x8040006552F16C135E31631B0384F358),
}


@pytest.mark.clause("KV-IDN-02")
@pytest.mark.parametrize(("sequence_hash", "parent", "position", "number", "text"), PACKED)
def test_packing_and_text(
    sequence_hash: int, parent: int | None, position: int, number: int, text: str
) -> None:
    packed = PositionalLineageHash.pack(sequence_hash, parent, position)
    assert packed == number
    assert str(packed) == text
    assert repr(packed) == f"PositionalLineageHash(0x{number:032x})"


@pytest.mark.clause("KV-IDN-02")
def test_the_lineage_hashes_of_twelve_tokens() -> None:
    made = sequence_hashes(range(1, 13), 4, scheme="lineage")
    assert [(int(each), str(each)) for each in made] == TWELVE


@pytest.mark.clause("KV-IDN-02")
def test_a_long_chain_at_the_borders_of_the_modes() -> None:
    made = sequence_hashes(np.arange(4 * 65538, dtype=np.uint32), 4, scheme="lineage")
    for position, (sequence_hash, number) in LONG_CHAIN.items():
        assert made[position] == number
        assert made[position].sequence_hash == sequence_hash
        assert made[position].position == position
    assert all(child.is_child_of(parent) for parent, child in itertools.pairwise(made))
    assert made == sorted(made)


@given(HASHES, HASHES, POSITIONS)
def test_every_form_gives_the_parts_back(sequence_hash: int, parent: int, position: int) -> None:
    packed = PositionalLineageHash.pack(sequence_hash, parent if position else None, position)
    kept = {0: 54, 1: 46, 2: 38}[packed.mode.number]
    assert packed.sequence_hash == sequence_hash
    assert packed.position == position
    assert packed.parent_fragment == (parent % 2**kept if position else 0)
    assert len(packed.to_wire()) == 16
    for copy in (
        PositionalLineageHash(int(packed)),
        PositionalLineageHash.from_wire(packed.to_wire()),
        PositionalLineageHash.parse(str(packed)),
        pickle.loads(pickle.dumps(packed)),  # noqa: S301 — made in this line
    ):
        assert copy == packed
        assert type(copy) is PositionalLineageHash


@given(st.tuples(HASHES, HASHES, POSITIONS), st.tuples(HASHES, HASHES, POSITIONS))
def test_numbers_sort_by_position_then_sequence_hash(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    packed = [
        PositionalLineageHash.pack(sequence_hash, parent if position else None, position)
        for sequence_hash, parent, position in (one, other)
    ]
    assert sorted(packed) == sorted(
        packed, key=lambda each: (each.position, each.sequence_hash, int(each))
    )


@given(HASHES, HASHES, POSITIONS.filter(lambda position: position < 2**24 - 1), st.integers(0, 37))
def test_an_edge_joins_neighbours_only(
    parent_hash: int, child_hash: int, position: int, bit: int
) -> None:
    grandparent = 3 if position else None
    parent = PositionalLineageHash.pack(parent_hash, grandparent, position)
    child = PositionalLineageHash.pack(child_hash, parent_hash, position + 1)
    assert child.is_child_of(parent)
    assert not parent.is_child_of(child)
    assert not parent.is_child_of(parent)
    stranger = PositionalLineageHash.pack(parent_hash ^ (1 << bit), grandparent, position)
    assert not child.is_child_of(stranger)
    if position + 2 < 2**24:
        assert not PositionalLineageHash.pack(1, parent_hash, position + 2).is_child_of(parent)


@pytest.mark.parametrize("position", [-1, 2**24])
def test_a_position_that_does_not_fit_is_refused(position: int) -> None:
    with pytest.raises(InvalidPosition, match=f"position {position} is outside 0 … 16777215"):
        PositionalLineageHash.pack(1, 2, position)


@pytest.mark.parametrize(("parent", "position"), [(None, 1), (7, 0)])
def test_only_the_first_position_has_no_parent(parent: int | None, position: int) -> None:
    with pytest.raises(IdentityError, match="the block at position 0 has no parent"):
        PositionalLineageHash.pack(1, parent, position)


@pytest.mark.clause("KV-IDN-08")
def test_a_hash_of_more_than_64_bits_is_not_cut() -> None:
    for make in (
        lambda: PositionalLineageHash.pack(2**64, None, 0),
        lambda: PositionalLineageHash.pack(0, 2**64, 1),
        lambda: PositionalLineageHash.pack(-1, None, 0),
        lambda: PositionalSequenceHash.pack(2**64, 0, 0),
        lambda: PositionalSequenceHash.pack(0, 2**64, 0),
    ):
        with pytest.raises(IdentityError, match="is no hash of 64 bits"):
            make()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (-1, "no integer of 128 bits"),
        (2**128, "no integer of 128 bits"),
        (1.0, "no integer of 128 bits"),
        (True, "no integer of 128 bits"),
        (3 << 126, "mode 3 does not exist"),
        (1 << 126 | 255 << 110, "position 255 does not go with"),
        (2 << 126 | 65535 << 102, "position 65535 does not go with"),
        (1, "position 0 has no parent"),
    ],
)
def test_a_number_that_is_no_lineage_hash_is_refused(number: int, reason: str) -> None:
    with pytest.raises(IdentityError, match=reason):
        PositionalLineageHash(number)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_the_wire_form_has_16_bytes(length: int) -> None:
    with pytest.raises(IdentityError, match=f"16 bytes on the wire, not {length}"):
        PositionalLineageHash.from_wire(bytes(length))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "starts with no position"),
        ("-1:11111112", "starts with no position"),
        ("٣:11111112:11111112", "starts with no position"),
        ("0", "0 hashes at position 0"),
        ("0:11111112:11111112", "2 hashes at position 0"),
        ("1:11111112", "1 hashes at position 1"),
        ("00:11111112", "the nearest one is '0:11111112'"),
        ("256:11111112:jpXCZedGfVQ", "the nearest one"),
        ("0:1111111l", "'l' is none of its digits"),
        ("0:1111112", "no base58 of 64 bits"),
        ("0:111111112", "no base58 of 64 bits"),
        ("0:jpXCZedGfVR", "no base58 of 64 bits"),
        ("1" * 5000, "a text of 5000 characters"),
        ("16777216:11111112:11111112", "position 16777216 is outside"),
    ],
)
def test_text_that_is_no_lineage_hash_is_refused(text: str, reason: str) -> None:
    with pytest.raises(IdentityError, match=reason):
        PositionalLineageHash.parse(text)


@given(HASHES)
def test_base58_can_be_read_back(value: int) -> None:
    assert from_base58(to_base58(value)) == value


def test_the_ends_of_base58() -> None:
    assert [to_base58(0), to_base58(2**64 - 1)] == ["11111111", "jpXCZedGfVQ"]


@pytest.mark.clause("KV-IDN-02")
def test_the_positional_sequence_hashes_of_twelve_tokens() -> None:
    names = zip(sequence_hashes(range(1, 13), 4), block_hashes(range(1, 13), 4), strict=True)
    made = [PositionalSequenceHash.pack(*map(int, pair), at) for at, pair in enumerate(names)]
    assert made == [
        0x0038E4D7FB2DCA5CCB38E4D7FB2DCA5C,
        0x0053EC39B907B74C44A2B2379D6D3C3D,
        0x00B748F1777D599CAEA1E67A6C80CF84,
    ]


@given(HASHES, HASHES, st.integers(0, 2**31 - 1) | POSITIONS)
def test_a_positional_sequence_hash_gives_its_parts_back(
    sequence_hash: int, block_hash: int, position: int
) -> None:
    packed = PositionalSequenceHash.pack(sequence_hash, block_hash, position)
    assert packed.sequence_hash == sequence_hash
    assert packed.position == position
    assert packed.block_fragment == block_hash % 2**packed.mode.fragment_bits
    assert PositionalSequenceHash(int(packed)) == packed
    assert repr(packed) == f"PositionalSequenceHash(0x{int(packed):032x})"


def test_a_positional_sequence_hash_ends_at_31_bits() -> None:
    with pytest.raises(InvalidPosition, match="position 2147483648 is outside 0 … 2147483647"):
        PositionalSequenceHash.pack(0, 0, 2**31)
    with pytest.raises(IdentityError, match="does not go with"):
        PositionalSequenceHash(3 << 126)
