"""Collisions: prompts that hashes known to be bad name alike.

What this is
    Vectors, each made for one family: the language's own hash of tuples and integers,
    polynomials, sums, and XXH3 with a seed that everybody knows. Whether 64 bits are there
    is seen from the rank of many keys: bits that are constant, repeated or sums of others
    do not count. A birthday search finds the rest.

Clauses: KV-IDN-05
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kvbm_spec.explore import Failure, Findings
from kvbm_spec.identity import Identity
from kvbm_spec.subject import Subject
from kvbm_spec.trial import Broken, Check, Program, Scene, Script, Trial
from kvbm_spec.trials.asking import Question, apart, ask, has_field, last

STRONG: Final = "KV-IDN-05"

TUPLE_HASH: Final = ((634025725, 414690331, 3, 4), (3919413255, 0, 3, 4))
"""Two tuples with one `hash()` in CPython on 64-bit machines: no seed enters that of integers."""

HASH_OF_NONE: Final = 0xFCA86420
"""`hash(None)` since CPython 3.12."""

INTEGER_HASH: Final = 2**61 - 1
"""CPython hashes an integer modulo this."""

BASES: Final = (1, 2, 31, 33, 37, 65, 101, 127, 131, 137, 251, 256, 257, 263, 65537, 65599)
"""What polynomial hashes multiply by."""

XXH3_SECRET: Final = 0xBE4BA423396CFEB8
"""First word of the secret of XXH3. With the seed added it makes the product zero that 16
bytes enter by, whatever the second half of them is."""

XXH3_SEEDS: Final = (0, 1337, 1389868326933519382)
"""No seed; the salt of schemes `dynamo` and `dynamo-v1` where nothing is given."""

KEYS: Final = 512
"""So many keys of 64 bits have rank 64, but for one chance in 2⁴⁴⁸."""

BLOCKS: Final = {"smoke": 1 << 12, "ci": 1 << 18, "nightly": 1 << 19}
"""Keys of a birthday search. 2¹⁸ keys of 32 bits have eight pairs alike."""


def known_collisions_are_told_apart(script: Script) -> None:
    """Ask for every vector."""
    apart(script, STRONG, [Question(tokens) for tokens in TUPLE_HASH])
    for seed in XXH3_SEEDS:
        word = (XXH3_SECRET + seed) % 2**64
        start = (word % 2**32, word >> 32)
        forged = [(*start, free, 7, 1, 2, 3, 4) for free in range(4)]
        apart(script, STRONG, [Question(tokens, block_size=8) for tokens in forged])
    for base in BASES:
        tokens = [1 << 20] * 8
        for place in (0, 2, 3, 4):  # the last token of a block, too
            for one, other in ((1, -base), (base, -1)):
                moved = tokens.copy()
                moved[place] += one
                moved[place + 1] += other
                apart(script, STRONG, [Question(tuple(tokens)), Question(tuple(moved))])
    pairs = [(first, first, 9) for first in range(8)]  # cancelled by who adds without carry
    sequences = [tuple(token for block in pair for token in (block, 0, 0, 0)) for pair in pairs]
    apart(script, STRONG, [Question(tokens) for tokens in sequences])
    if has_field(script, "parent"):
        _of_parents(script)
    script.reached("known collisions")


def _of_parents(script: Script) -> None:
    key = last(script, Question((1, 2, 3, 4)))
    if isinstance(key, int):
        shifted = key + INTEGER_HASH if key + INTEGER_HASH < 2**64 else key - INTEGER_HASH
        parents: tuple[Any, ...] = (None, HASH_OF_NONE, key, shifted)
        asked = [Question((5, 6, 7, 8), Identity(parent=parent)) for parent in parents]
        apart(script, STRONG, asked)


def a_key_has_64_bits(script: Script) -> None:
    """Take the rank of the differences of many keys, over the field of two elements."""
    keys = [_number(last(script, Question((token, 0, 0, 0)))) for token in range(KEYS)]
    rank = _rank(key ^ keys[0] for key in keys)
    what = f"{KEYS} keys differ in {rank} independent bits; 64 were too few to cut"
    script.expect(STRONG, rank >= 64, what)
    script.reached("rank of many keys")


def _number(key: int | bytes) -> int:
    return int.from_bytes(key) if isinstance(key, bytes) else key


def _rank(rows: Iterable[int]) -> int:
    """Count independent rows. Each is brought below the leading bits that are known."""
    leading: dict[int, int] = {}
    for each in rows:
        row = each
        while row and row.bit_length() in leading:
            row ^= leading[row.bit_length()]
        if row:
            leading[row.bit_length()] = row
    return len(leading)


@dataclass(frozen=True, slots=True)
class Birthday:
    """Searches one long chain for two blocks of one key."""

    name: str = "birthday search"
    clauses: tuple[str, ...] = (STRONG,)
    ability: str = "hashing"

    def run(self, subject: Subject, effort: str) -> Findings:
        """See Trial."""
        findings = Findings()
        started = time.perf_counter()
        failure = self.replay(subject, (BLOCKS[effort],))
        if failure is not None:
            findings.add(failure)
        findings.states = findings.transitions = 1
        findings.seconds = time.perf_counter() - started
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """See Trial. A program is the number of blocks, of one token each."""
        script = Script(subject, STRONG)
        try:
            self._search(script, int(program[0]))
        except Broken as broken:
            return script.failure(broken.verdict, self.name, program)
        return None

    def _search(self, script: Script, blocks: int) -> None:
        keys = ask(script, Question(tuple(range(blocks)), block_size=1))
        first: dict[Any, int] = {}
        for block, key in enumerate(keys):
            other = first.setdefault(key, block)
            if other != block:
                what = f"of 0, 1, 2, … blocks {other} and {block} of one token have one key"
                script.expect(STRONG, False, what)


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("known collisions", (STRONG,), "hashing", known_collisions_are_told_apart),
    Scene("64 bits", (STRONG,), "hashing", a_key_has_64_bits),
    Birthday(),
)

CHECKS: Final[Mapping[str, Check]] = {
    STRONG: Check(("known collisions", "rank of many keys"), "hashing"),
}
