"""XXH3, 64 bit with a seed, over tokens: the fast twin, compiled by Numba.

What this is
    The hashes of many blocks and the chain over them, in one pass over a uint32 array.
    The bits are those of the `xxhash` package, which `reference.py` uses: read that
    file to learn *what* is hashed, and this one to learn how XXH3 does it.

    XXH3 picks its way by the length of the input. All of these occur, because a block
    may have any number of tokens and the chain hashes 16 bytes:

        4 … 8 bytes    two multiplications
        9 … 16         one multiplication to 128 bits, folded
        17 … 128       pairs of 16-byte lanes, from both ends inwards
        129 … 240      16-byte lanes in order
        241 and more   stripes of 64 bytes into eight accumulators

    A token has four bytes, so lengths that are no multiple of four are left out.

Interface, as rules of use
    * `hash_blocks` is the way in. Everything else serves it.
    * Offsets and sizes are in words of 32 bits, one token each. Bounds are not checked
      in compiled code; `hash_blocks` cuts the windows so that they fit.
    * Every 64-bit quantity is `np.uint64`, constants too: Numba turns a mix of signed
      and unsigned integers into a float.
    * The constants stay in this file, because compiled code is cached per file.
    * Sums and products wrap modulo 2**64, as XXH3 wants it. When the file runs as plain
      Python, NumPy warns of each.

Clauses: KV-IDN-01, KV-IDN-02
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kvbm.compiled import compiled

Words = NDArray[np.uint32]
Hashes = NDArray[np.uint64]

# The public default secret of XXH3, as 24 little-endian words of 64 bits.
SECRET: Hashes = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
        "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
        "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
        "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    dtype="<u8",
).astype(np.uint64)

PRIME32_1 = np.uint64(0x9E3779B1)
PRIME32_2 = np.uint64(0x85EBCA77)
PRIME32_3 = np.uint64(0xC2B2AE3D)
PRIME64_1 = np.uint64(0x9E3779B185EBCA87)
PRIME64_2 = np.uint64(0xC2B2AE3D27D4EB4F)
PRIME64_3 = np.uint64(0x165667B19E3779F9)
PRIME64_4 = np.uint64(0x85EBCA77C2B2AE63)
PRIME64_5 = np.uint64(0x27D4EB2F165667C5)
MIX_1 = np.uint64(0x165667919E3779F9)
MIX_2 = np.uint64(0x9FB21C651E98DF25)

LOW_HALF = np.uint64(0x00000000FFFFFFFF)
LOW_BYTES = np.uint64(0x00FF00FF00FF00FF)
LOW_PAIRS = np.uint64(0x0000FFFF0000FFFF)

LANE = 4  # words: 16 bytes
STRIPE = 16  # words: 64 bytes, eight 64-bit values
STRIPES_PER_ROUND = 16  # each takes its keys one secret word later, and 24 - 8 = 16 is the last

ACCUMULATORS: Hashes = np.array(
    [PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1]
)


# ── arithmetic ────────────────────────────────────────────────────────────────────────────


@compiled
def fold(a: np.uint64, b: np.uint64) -> np.uint64:
    """Multiply to 128 bits and xor the halves. The compiler sees one multiplication in this."""
    half = np.uint64(32)
    a_low, a_high = a & LOW_HALF, a >> half
    b_low, b_high = b & LOW_HALF, b >> half
    outer, inner = a_high * b_low, a_low * b_high
    carried = ((a_low * b_low) >> half) + (outer & LOW_HALF) + inner
    return ((outer >> half) + (carried >> half) + a_high * b_high) ^ (a * b)


@compiled
def reverse_bytes(value: np.uint64) -> np.uint64:
    """Reverse the order of eight bytes: swap neighbours, then pairs, then halves."""
    byte, pair, half = np.uint64(8), np.uint64(16), np.uint64(32)
    value = ((value & LOW_BYTES) << byte) | ((value >> byte) & LOW_BYTES)
    value = ((value & LOW_PAIRS) << pair) | ((value >> pair) & LOW_PAIRS)
    return (value << half) | (value >> half)


@compiled
def rotate_left(value: np.uint64, bits: int) -> np.uint64:
    """Rotate by 1 … 63 bits."""
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@compiled
def avalanche(value: np.uint64) -> np.uint64:
    """Let every bit reach the whole word."""
    value = (value ^ (value >> np.uint64(37))) * MIX_1
    return value ^ (value >> np.uint64(32))


@compiled
def read(words: Words, offset: int) -> np.uint64:
    """Read 64 bits, low word first. An unsigned index spares a test for negative ones."""
    index = np.uint64(offset)
    low: np.uint64 = np.uint64(words[index])
    high: np.uint64 = np.uint64(words[index + np.uint64(1)])
    return low | (high << np.uint64(32))


@compiled
def read_secret(secret: Hashes, offset: int) -> np.uint64:
    """Read 64 bits of the secret at a byte offset that is no multiple of eight."""
    index, shift = offset // 8, 8 * (offset % 8)
    low: np.uint64 = secret[index]
    high: np.uint64 = secret[index + 1]
    return (low >> np.uint64(shift)) | (high << np.uint64(64 - shift))


@compiled
def seeded_secret(seed: np.uint64) -> Hashes:
    """Derive the secret of a seed: even words plus seed, odd words minus seed."""
    secret = SECRET.copy()
    for index in range(0, secret.size, 2):
        secret[index] += seed
        secret[index + 1] -= seed
    return secret


@compiled
def mix_lane(words: Words, offset: int, low_key: np.uint64, high_key: np.uint64) -> np.uint64:
    """Multiply the two halves of a lane, each under its key."""
    return fold(read(words, offset) ^ low_key, read(words, offset + 2) ^ high_key)


# ── one input, by its length ──────────────────────────────────────────────────────────────


@compiled
def hash_4_to_8(first: np.uint64, last: np.uint64, length: np.uint64, seed: np.uint64) -> np.uint64:
    """Hash one or two words; of one word, first and last are the same."""
    seed ^= reverse_bytes(seed & LOW_HALF)
    value: np.uint64 = (last + (first << np.uint64(32))) ^ ((SECRET[1] ^ SECRET[2]) - seed)
    value ^= rotate_left(value, 49) ^ rotate_left(value, 24)
    value *= MIX_2
    value ^= (value >> np.uint64(35)) + length
    value *= MIX_2
    return value ^ (value >> np.uint64(28))


@compiled
def hash_9_to_16(
    first: np.uint64, last: np.uint64, length: np.uint64, seed: np.uint64
) -> np.uint64:
    """Hash the first and the last eight bytes of an input; they may overlap."""
    low = first ^ ((SECRET[3] ^ SECRET[4]) + seed)
    high = last ^ ((SECRET[5] ^ SECRET[6]) - seed)
    return avalanche(length + reverse_bytes(low) + high + fold(low, high))


@compiled
def hash_17_to_128(words: Words, start: int, size: int, secret: Hashes) -> np.uint64:
    """Hash one to four pairs of lanes. In the middle the two of a pair may overlap."""
    total = np.uint64(4 * size) * PRIME64_1
    for pair in range((size + 7) // 8):
        front = start + LANE * pair
        back = start + size - LANE * (pair + 1)
        total += mix_lane(words, front, secret[4 * pair], secret[4 * pair + 1])
        total += mix_lane(words, back, secret[4 * pair + 2], secret[4 * pair + 3])
    return avalanche(total)


@compiled
def hash_129_to_240(
    words: Words, start: int, size: int, seed: np.uint64, secret: Hashes
) -> np.uint64:
    """Hash eight lanes, stir, and add the others under keys that lie three bytes further on."""
    total = np.uint64(4 * size) * PRIME64_1
    for lane in range(8):
        total += mix_lane(words, start + LANE * lane, secret[2 * lane], secret[2 * lane + 1])
    total = avalanche(total)
    for lane in range(8, size // LANE):
        key = 16 * (lane - 8) + 3
        low_key, high_key = read_secret(SECRET, key) + seed, read_secret(SECRET, key + 8) - seed
        total += mix_lane(words, start + LANE * lane, low_key, high_key)
    low_key, high_key = read_secret(SECRET, 119) + seed, read_secret(SECRET, 127) - seed
    return avalanche(total + mix_lane(words, start + size - LANE, low_key, high_key))


@compiled
def accumulate(total: Hashes, lane: int, value: np.uint64, key: np.uint64) -> None:
    """Add a value to the neighbour of its accumulator, and its keyed product to its own."""
    keyed = value ^ key
    total[lane ^ 1] += value
    total[lane] += (keyed & LOW_HALF) * (keyed >> np.uint64(32))


@compiled
def hash_long(words: Words, start: int, size: int, secret: Hashes, total: Hashes) -> np.uint64:
    """Hash 241 bytes and more. `total` is scratch: eight accumulators."""
    total[:] = ACCUMULATORS
    # The last stripe is always taken from the end; it overlaps the one before it.
    stripes = (size - 1) // STRIPE
    for stripe in range(stripes):
        first_key = stripe % STRIPES_PER_ROUND
        for lane in range(8):
            value = read(words, start + STRIPE * stripe + 2 * lane)
            accumulate(total, lane, value, secret[first_key + lane])
        if first_key == STRIPES_PER_ROUND - 1:
            for lane in range(8):
                stirred = total[lane] ^ (total[lane] >> np.uint64(47))
                total[lane] = (stirred ^ secret[16 + lane]) * PRIME32_1
    for lane in range(8):
        value = read(words, start + size - STRIPE + 2 * lane)
        accumulate(total, lane, value, read_secret(secret, 121 + 8 * lane))

    result = np.uint64(4 * size) * PRIME64_1
    for lane in range(0, 8, 2):
        low_key, high_key = read_secret(secret, 11 + 8 * lane), read_secret(secret, 19 + 8 * lane)
        result += fold(total[lane] ^ low_key, total[lane + 1] ^ high_key)
    return avalanche(result)


# ── many blocks ───────────────────────────────────────────────────────────────────────────


@compiled
def fill_hashes(
    words: Words,
    stride: int,
    size: int,
    seed: np.uint64,
    chain_seed: np.uint64,
    parent: np.uint64,
    has_parent: bool,
    known_index: NDArray[np.int64],
    known_hash: Hashes,
    block_hashes: Hashes,
    sequence_hashes: Hashes,
) -> None:
    """Fill the two result arrays.

    One loop does both, because the chain waits for itself and the next block can be hashed
    meanwhile. The choice by length stands in the loop, where the compiler puts each function
    in its place: a call for every block would cost more than the hash.
    """
    secret = seeded_secret(seed)
    length = np.uint64(4 * size)
    total = np.empty(8, np.uint64)
    known = 0
    for block in range(block_hashes.size):
        start = block * stride
        if known < known_index.size and known_index[known] == block:
            block_hash = known_hash[known]
            known += 1
        elif size <= 2:
            first, last = np.uint64(words[start]), np.uint64(words[start + size - 1])
            block_hash = hash_4_to_8(first, last, length, seed)
        elif size <= 4:
            first, last = read(words, start), read(words, start + size - 2)
            block_hash = hash_9_to_16(first, last, length, seed)
        elif size <= 32:
            block_hash = hash_17_to_128(words, start, size, secret)
        elif size <= 60:
            block_hash = hash_129_to_240(words, start, size, seed, secret)
        else:
            block_hash = hash_long(words, start, size, secret, total)

        if has_parent or block > 0:
            parent = hash_9_to_16(parent, block_hash, np.uint64(16), chain_seed)
        else:
            parent = block_hash
        block_hashes[block] = block_hash
        sequence_hashes[block] = parent


def hash_blocks(
    words: Words,
    stride: int,
    window: int,
    seed: int,
    chain_seed: int,
    parent: int | None,
    known: Mapping[int, int],
) -> tuple[Hashes, Hashes]:
    """Hash every window of a token array, and chain the hashes.

    Parameters
    ----------
    words : uint32[tokens], contiguous
        All tokens; those after the last window are ignored.
    stride : tokens
        From the start of one window to that of the next; at least 1.
    window : tokens
        Tokens that each hash covers; at least 1.
    seed, chain_seed
        Seeds of the block hash and of the chain, 0 … 2**64 - 1.
    parent
        Sequence hash of the block before the first, or None where the first is the root.
    known
        Block hashes that were made elsewhere, by index, in ascending order. They take the
        place of the hashes of these windows.

    Returns
    -------
    block_hashes, sequence_hashes : uint64[blocks]
        New arrays.

    Complexity
    ----------
    O(tokens).

    Clauses: KV-IDN-01, KV-IDN-02

    Examples
    --------
    >>> blocks, chain = hash_blocks(np.arange(1, 9, dtype=np.uint32), 4, 4, 1337, 1337, None, {})
    >>> blocks.tolist(), chain.tolist()[1]
    ([14643705804678351452, 16777012769546811212], 4945711292740353085)
    """
    count = max(0, (words.size - window) // stride + 1)
    block_hashes, sequence_hashes = np.empty(count, np.uint64), np.empty(count, np.uint64)
    if count == 0:  # a window may be larger than what compiled integers hold
        return block_hashes, sequence_hashes
    fill_hashes(
        words,
        stride,
        window,
        np.uint64(seed),
        np.uint64(chain_seed),
        np.uint64(0 if parent is None else parent),
        parent is not None,
        np.fromiter(known.keys(), np.int64, len(known)),
        np.fromiter(known.values(), np.uint64, len(known)),
        block_hashes,
        sequence_hashes,
    )
    return block_hashes, sequence_hashes
