"""The two public functions: published numbers, and what a key must depend on."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kvbm.errors import IdentityError, InvalidBlockSize, InvalidToken, UnknownScheme
from kvbm.identity import block_hashes, sequence_hashes

TWELVE = range(1, 13)
VECTORS = Path(__file__).parents[2].parent / "shared/data/hash_vectors_dynamo_1_6_1.json"

# Tokens 1 … 12 in blocks of 4. The block hashes are what Dynamo 1.6.1 gives.
DYNAMO: list[tuple[dict[str, Any], list[int], list[int]]] = [
    (
        {},
        [14643705804678351452, 16777012769546811212, 483935686894639516],
        [14643705804678351452, 4945711292740353085, 12583592247330656132],
    ),
    (
        {"lora_name": "loraA"},
        [15610981098276594008, 892364067044080279, 3710910475956689729],
        [15610981098276594008, 13803986560260995757, 4220445626637649741],
    ),
    (
        {"cache_namespace": "tenant/1"},
        [14631066997228953151, 8234171775075549907, 1631647943028898614],
        [14631066997228953151, 6217860323403538018, 4088921997392090186],
    ),
    (
        {"lora_name": "loraA", "cache_namespace": "tenant/1"},
        [1607393117859308722, 15985506440620458282, 12983527463375977809],
        [1607393117859308722, 1478159183769192022, 5082062768672309016],
    ),
    (
        {"is_eagle": True},
        [1914873892905420881, 1929047464662796003],
        [1914873892905420881, 13136491855314414045],
    ),
    (
        {"mm": [None, [9, 7], None]},
        [14643705804678351452, 14898771939167718753, 483935686894639516],
        [14643705804678351452, 12990983311924207854, 9441033163989438984],
    ),
]


@pytest.mark.clause("KV-IDN-02")
@pytest.mark.parametrize(("options", "blocks", "chain"), DYNAMO)
def test_the_hashes_of_twelve_tokens(
    options: dict[str, Any], blocks: list[int], chain: list[int]
) -> None:
    assert block_hashes(TWELVE, 4, **options).tolist() == blocks  # type: ignore[union-attr]
    made = sequence_hashes(np.arange(1, 13, dtype=np.uint32), 4, **options)
    assert isinstance(made, np.ndarray)
    assert made.dtype == np.uint64
    assert made.tolist() == chain


@pytest.mark.clause("KV-IDN-02")
def test_the_block_hashes_of_version_1() -> None:
    assert list(block_hashes(range(12), 4, scheme="dynamo-v1")) == [
        10238245081298368321,
        703099547926999118,
        15321506190779093438,
    ]


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02")
@pytest.mark.skipif(
    not VECTORS.exists(), reason="the vector file of Dynamo 1.6.1 is not beside this checkout"
)
def test_all_vectors_of_the_file() -> None:
    cases = json.loads(VECTORS.read_text())
    assert len(cases) == 200
    for number, case in enumerate(cases):
        expected = case.pop("block_hashes")
        assert list(block_hashes(**case)) == expected, number


@pytest.mark.parametrize(("block_size", "tokens"), [(4, []), (4, [1, 2, 3]), (13, TWELVE)])
def test_without_a_full_block_there_is_no_hash(
    scheme_name: str, block_size: int, tokens: list[int]
) -> None:
    assert list(block_hashes(tokens, block_size, scheme=scheme_name)) == []
    assert list(sequence_hashes(tokens, block_size, scheme=scheme_name)) == []


def test_media_beyond_the_last_full_block_are_ignored() -> None:
    assert list(block_hashes([1, 2, 3], 4, mm=[[1]])) == []
    assert list(block_hashes(TWELVE, 4, mm=[None, None, None, [5]])) == DYNAMO[0][1]


def test_is_eagle_none_means_false() -> None:
    assert list(block_hashes(TWELVE, 4, is_eagle=None)) == DYNAMO[0][1]


@pytest.mark.parametrize("function", [block_hashes, sequence_hashes])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokens": [1, -1]}, InvalidToken, "token -1 at index 1"),
        ({"tokens": [1, 2**32]}, InvalidToken, "token 4294967296 at index 1"),
        ({"block_size": 0}, InvalidBlockSize, "block_size = 0"),
        ({"block_size": 4.0}, InvalidBlockSize, "block_size = 4.0"),
        ({"scheme": "md5"}, UnknownScheme, "unknown hash scheme 'md5'"),
        ({"lora_name": 5}, IdentityError, "lora_name = 5: must be text or None"),
        ({"cache_namespace": b"x"}, IdentityError, "cache_namespace = b'x': must be text"),
        ({"mm": [[-1]]}, IdentityError, "mm[0][0] = -1: must be in 0 … 2**64 - 1"),
    ],
)
def test_bad_input_is_named(
    function: Any, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        function(**{"tokens": TWELVE, "block_size": 4, **changes})
    assert message in str(caught.value)


@pytest.mark.clause("KV-IDN-01")
@given(
    tokens=st.lists(st.integers(0, 2**32 - 1), max_size=40),
    block_size=st.integers(1, 6),
    keep=st.integers(0, 40),
    scheme=st.sampled_from(["dynamo", "dynamo-v1", "lineage", "sha256"]),
)
def test_the_hashes_of_a_prefix_are_a_prefix_of_the_hashes(
    tokens: list[int], block_size: int, keep: int, scheme: str
) -> None:
    whole = list(sequence_hashes(tokens, block_size, scheme=scheme))
    assert (
        list(sequence_hashes(tokens[:keep], block_size, scheme=scheme))
        == whole[: min(keep, len(tokens)) // block_size]
    )


@pytest.mark.clause("KV-IDN-01", "KV-IDN-03")
@given(data=st.data())
def test_one_changed_token_changes_every_key_from_there_on(data: st.DataObject) -> None:
    scheme = data.draw(st.sampled_from(["dynamo", "dynamo-v1", "lineage", "sha256"]))
    tokens = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
    block_size = data.draw(st.integers(1, 6))
    index = data.draw(st.integers(0, len(tokens) - 1))
    changed = tokens.copy()
    changed[index] ^= 1 << data.draw(st.integers(0, 31))
    pairs = zip(
        sequence_hashes(tokens, block_size, scheme=scheme),
        sequence_hashes(changed, block_size, scheme=scheme),
        strict=True,
    )
    for block, (before, after) in enumerate(pairs):
        assert (before == after) == (block < index // block_size)


@pytest.mark.clause("KV-IDN-03", "KV-IDN-04")
def test_any_one_changed_field_changes_the_key(scheme_name: str) -> None:
    plain: dict[str, Any] = {"tokens": list(range(8)), "block_size": 4, "scheme": scheme_name}
    changes: list[dict[str, Any]] = [
        {},
        {"tokens": [1, 0, *range(2, 8)]},
        {"tokens": [*range(4, 8), *range(4)]},
        {"tokens": [7, *range(1, 8)]},
        {"block_size": 8},
        {"lora_name": "x"},
        {"cache_namespace": "x"},
        {"lora_name": "a", "cache_namespace": "bc"},
        {"lora_name": "ab", "cache_namespace": "c"},
        {"mm": [[1]]},
        {"mm": [None, [1]]},
        {"mm": [[2]]},
        {"mm": [[1, 1]]},
        {"mm": [[1, 2]]},
    ]
    if scheme_name in {"dynamo-v1", "sha256"}:  # the others take an empty name for none
        changes += [{"lora_name": ""}, {"cache_namespace": ""}]
    keys = [sequence_hashes(**{**plain, **change})[-1] for change in changes]
    assert len(set(keys)) == len(changes)


@pytest.mark.clause("KV-IDN-01")
def test_the_order_of_objects_in_a_block_does_not_matter(scheme_name: str) -> None:
    keys = [
        list(sequence_hashes(TWELVE, 4, mm=[order], scheme=scheme_name))
        for order in itertools.permutations([5, 2**63, 9])
    ]
    assert all(each == keys[0] for each in keys)


def similar_blocks() -> NDArray[np.uint32]:
    """Give 100,000 different blocks of four tokens that a weak hash takes for each other."""
    counted = np.zeros((1 << 16, 4), np.uint32)
    counted[:, 3] = np.arange(1 << 16)
    high = counted << np.uint32(16)
    single_bits = np.zeros((128, 4), np.uint32)
    for bit in range(128):
        single_bits[bit, bit // 32] = 1 << bit % 32
    orders = np.array(list(itertools.permutations(range(100, 104))), np.uint32)
    carried = np.array([[a, 31 * (64 - a), 0, 0] for a in range(64)], np.uint32)
    return np.unique(np.concatenate([counted, high, single_bits, orders, carried]), axis=0)


@pytest.mark.clause("KV-IDN-05", "KV-IDN-08")
def test_keys_of_similar_blocks_do_not_collide() -> None:
    blocks = similar_blocks()
    for salt in (None, "tenant"):
        hashes = block_hashes(blocks.reshape(-1), 4, cache_namespace=salt)
        assert len(set(hashes)) == len(blocks)


@pytest.mark.clause("KV-IDN-05")
@pytest.mark.parametrize(
    "weak",
    [
        sum,
        lambda block: block[0] ^ block[1] ^ block[2] ^ block[3],
        lambda block: block[0] * 31 + block[1] + (block[2] << 64) + (block[3] << 96),
        lambda block: tuple(token & 0xFFFF for token in block),
        lambda block: tuple(token >> 16 for token in block),
        lambda block: tuple(sorted(block)),
        lambda block: hash(tuple(block)) & 0xFFFFFF,
    ],
    ids=["sum", "xor", "polynomial", "low half", "high half", "unordered", "24 bits"],
)
def test_a_weak_hash_would_collide_on_them(weak: Any) -> None:
    blocks = similar_blocks().tolist()
    assert len({weak(block) for block in blocks}) < len(blocks)


@pytest.mark.clause("KV-IDN-05", "KV-IDN-08")
def test_one_bit_of_a_token_flips_half_the_bits_of_the_key(scheme_name: str) -> None:
    def bits(bit: int | None) -> int:
        token = 1234567 if bit is None else 1234567 ^ (1 << bit)
        made = block_hashes([token, 1, 2, 3], 4, scheme=scheme_name)[0]
        return int.from_bytes(made, "big") if isinstance(made, bytes) else int(made)

    width = 256 if scheme_name == "sha256" else 64
    flipped = [(bits(None) ^ bits(bit)).bit_count() / width for bit in range(32)]
    assert all(0.2 < share < 0.8 for share in flipped)
    assert 0.45 < sum(flipped) / len(flipped) < 0.55


@pytest.mark.clause("KV-IDN-02")
def test_keys_do_not_depend_on_the_process() -> None:
    program = """
from kvbm.identity import sequence_hashes
for scheme in ("dynamo", "dynamo-v1", "lineage", "sha256"):
    print(list(map(str, sequence_hashes(
        range(32), 4, lora_name="a", cache_namespace="b", mm=[[3, 1, 2]], scheme=scheme))))
"""
    outputs = {
        subprocess.run(  # noqa: S603 — our own program
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 4
