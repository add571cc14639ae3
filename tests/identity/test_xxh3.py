"""The compiled XXH3 against the `xxhash` package, over every way through it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kvbm.identity.xxh3 import hash_blocks

SEEDS = [0, 1, 1337, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0x0123456789ABCDEF]


def noise(count: int, seed: int = 0) -> NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


@pytest.mark.clause("KV-IDN-02")
@pytest.mark.parametrize("seed", SEEDS)
def test_every_length_of_a_block_gives_the_bits_of_xxhash(seed: int) -> None:
    words = noise(5000)
    for size in [*range(1, 600), 1008, 1023, 1024, 1025, 1040, 2048, 5000]:
        (made,) = hash_blocks(words[:size], size, size, seed, 0, None, {})[0].tolist()
        assert made == xxhash.xxh3_64_intdigest(words[:size].tobytes(), seed), size


@given(
    words=st.lists(st.integers(0, 2**32 - 1), max_size=80),
    stride=st.integers(1, 9),
    extra=st.integers(0, 1),
    seeds=st.tuples(*[st.integers(0, 2**64 - 1)] * 2),
    parent=st.none() | st.integers(0, 2**64 - 1),
    known=st.dictionaries(st.integers(0, 80), st.integers(0, 2**64 - 1), max_size=5),
)
def test_windows_and_chain_are_those_of_a_plain_loop(
    words: list[int],
    stride: int,
    extra: int,
    seeds: tuple[int, int],
    parent: int | None,
    known: dict[int, int],
) -> None:
    blocks, chain = [], []
    last = parent
    for start in range(0, len(words) - stride - extra + 1, stride):
        window = words[start : start + stride + extra]
        made = xxhash.xxh3_64_intdigest(struct.pack(f"<{len(window)}I", *window), seeds[0])
        blocks.append(known.get(start // stride, made))
        pair = struct.pack("<QQ", last or 0, blocks[-1])
        last = blocks[-1] if last is None else xxhash.xxh3_64_intdigest(pair, seeds[1])
        chain.append(last)
    array = np.array(words, np.uint32)
    ascending = dict(sorted(known.items()))
    result = hash_blocks(array, stride, stride + extra, *seeds, parent, ascending)
    assert [part.tolist() for part in result] == [blocks, chain]


def test_a_window_larger_than_any_array_does_not_exist() -> None:
    assert hash_blocks(noise(4), 2**80, 2**80, 0, 0, None, {})[0].tolist() == []


@pytest.mark.clause("KV-IDN-02")
def test_interpreted_code_in_a_process_with_another_hash_seed_gives_the_same() -> None:
    program = """
import numpy as np
from kvbm.identity.xxh3 import hash_blocks
words = np.arange(1, 400, dtype=np.uint32) * np.uint32(2654435761)
for size in (1, 2, 3, 4, 16, 33, 60, 61, 300):
    print(*(part.tolist() for part in hash_blocks(words, size, size, 1337, 1337, None, {})))
"""
    outputs = set()
    for settings in ({}, {"NUMBA_DISABLE_JIT": "1", "PYTHONHASHSEED": "7"}):
        outputs.add(
            subprocess.run(  # noqa: S603 — our own program
                [sys.executable, "-W", "ignore", "-c", program],
                env={**os.environ, "PYTHONHASHSEED": "0", **settings},
                capture_output=True,
                check=True,
            ).stdout
        )
    assert len(outputs) == 1
