"""`kvbm bench hash`: tokens hashed per second, block hash and chain.

What this is
    131,072 random tokens in blocks of 16. The limit is one XXH3 over all the bytes at once, no
    blocks and no chain: as fast as the machine can read and mix them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import xxhash

from kvbm.cli.bench.timing import Report, Subject, take_turns
from kvbm.identity import sequence_hashes
from kvbm.identity.reference import CHAIN_SEED, chain_hash, xxh3_64

TOKENS, BLOCK_SIZE, SALT = 131_072, 16, 1337
QUICK, SLOW = 50, 1  # passes in one measurement: a quick one is too short to be timed alone
REFERENCE = "xxhash, per block"


def measure(rounds: int) -> Report:
    """Run the benchmark."""
    tokens = np.random.default_rng(1).integers(0, 1 << 32, TOKENS, dtype=np.uint32)
    listed = tokens.tolist()
    raw = tokens.tobytes()

    def subject(name: str, work: Callable[[], object], passes: int = SLOW) -> Subject:
        def repeated() -> None:
            for _ in range(passes):
                work()

        return Subject(name, {"hash": repeated}, {"hash": passes * TOKENS / 1e6})

    subjects = [
        subject("kvbm, array", lambda: sequence_hashes(tokens, BLOCK_SIZE), QUICK),
        subject("kvbm, list", lambda: sequence_hashes(listed, BLOCK_SIZE)),
        subject("kvbm, sha256", lambda: sequence_hashes(tokens, BLOCK_SIZE, scheme="sha256")),
        subject(REFERENCE, lambda: _per_block(raw)),
    ]
    notes = [
        f"{REFERENCE}: the package xxhash, one call a block and one a chain step.",
        "limit: one XXH3 over all bytes at once.",
    ]
    dynamo = _dynamo()
    if dynamo is None:
        notes.append("ai-dynamo-runtime is not installed here.")
    else:
        subjects.append(subject("dynamo, list, no chain", lambda: dynamo(listed, BLOCK_SIZE)))
    subjects.append(subject("limit", lambda: xxhash.xxh3_64_intdigest(raw, SALT), QUICK))
    return Report(
        title="Hashing",
        workload=f"{TOKENS:,} tokens in blocks of {BLOCK_SIZE}: block hashes and their chain",
        unit="M tokens/s",
        columns=("hash",),
        rows=take_turns(subjects, rounds),
        reference=REFERENCE,
        notes=tuple(notes),
    )


def _per_block(raw: bytes) -> list[int]:
    width = 4 * BLOCK_SIZE
    chain: list[int] = []
    for start in range(0, len(raw), width):
        block = xxh3_64(raw[start : start + width], SALT)
        chain.append(chain_hash(chain[-1], block, CHAIN_SEED) if chain else block)
    return chain


def _dynamo() -> Callable[[list[int], int], object] | None:
    try:
        module = importlib.import_module("dynamo._core")
    except ImportError:
        return None
    function: Callable[[list[int], int], object] = module.compute_block_hash_for_seq
    return function
