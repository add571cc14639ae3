"""Trials of identity, isolation and fills pass what is right, and fail each way to break it."""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import xxhash
from kvbm_spec import abilities, elsewhere, replayed
from kvbm_spec.explore import Findings
from kvbm_spec.identity import TEXTS, Identity, Media
from kvbm_spec.process import AdapterError, ProcessSubject
from kvbm_spec.run import _Judge
from kvbm_spec.status import Status
from kvbm_spec.subject import PoolConfig, Subject, SubjectError
from kvbm_spec.trials import TRIAL_CHECKS, TRIALS
from kvbm_spec.trials import collisions as vectors
from list_pool import ListPool, ListSubject
from toy_hash import (
    Block,
    FailsElsewhere,
    HashesTextsByTheLanguage,
    RandomRoot,
    ToldRandomRoot,
    Toy,
)

from kvbm.cli.subject import KvbmSubject
from kvbm.cli.subject.hashing import OneScheme

HASHING = ("KV-IDN-01", "KV-IDN-02", "KV-IDN-03", "KV-IDN-04", "KV-IDN-05", "KV-IDN-08")
TENANTS = ("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04")
CLAUSES = (*HASHING, "KV-IDN-06", "KV-IDN-07", *TENANTS, "KV-REG-08", "KV-LIF-03", "KV-INT-06")


def tried(subject: Subject, *about: str, effort: str = "smoke") -> Findings:
    """Run the trials that can break one of these clauses and that the subject is able to."""
    findings = Findings()
    for trial in TRIALS:
        if {*about} & {*trial.clauses} and abilities.has(subject, trial.ability, CONFIG):
            findings.merge(trial.run(subject, effort))
    return findings


def status(subject: Subject, clause: str) -> Status:
    """Judge one clause by its trials alone."""
    return _Judge(subject, tried(subject, clause), blocked=False)(clause).status


CONFIG = PoolConfig(slots=2)

ADAPTER = Path(__file__).parents[2] / "spec" / "examples" / "adapter.py"


# ── what is right ─────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02", "KV-IDN-03", "KV-IDN-04", "KV-IDN-05", "KV-IDN-08")
@pytest.mark.clause("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04")
@pytest.mark.parametrize("clause", [*HASHING, *TENANTS])
def test_a_hash_of_ten_lines_passes(clause: str) -> None:
    assert status(Toy(), clause) is Status.PASS


@pytest.mark.clause("KV-IDN-05")
def test_a_hash_of_ten_lines_has_no_birthday_among_many_blocks() -> None:
    assert not tried(Toy(), "KV-IDN-05", effort="ci").failures


@pytest.mark.clause("KV-IDN-01", "KV-IDN-02", "KV-IDN-03", "KV-IDN-04", "KV-IDN-05", "KV-IDN-08")
@pytest.mark.clause("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04", "KV-IDN-06")
@pytest.mark.clause("KV-LIF-03", "KV-LIF-08", "KV-INT-06")
def test_our_own_pool_passes_with_scheme_sha256() -> None:
    findings = tried(KvbmSubject(), *CLAUSES, "KV-LIF-08")
    assert not findings.failures
    judge = _Judge(KvbmSubject(), findings, blocked=False)
    passed = {clause for clause in CLAUSES if judge(clause).status is Status.PASS}
    assert passed == {*CLAUSES} - {"KV-IDN-07", "KV-REG-08"}


class Dynamo(KvbmSubject):
    scheme = "dynamo"


class DynamoV1(KvbmSubject):
    scheme = "dynamo-v1"


class Lineage(KvbmSubject):
    scheme = "lineage"


@pytest.mark.parametrize("subject", [Dynamo, DynamoV1, Lineage])
def test_the_schemes_of_dynamo_keep_their_vectors_and_are_no_strong_hashes(
    subject: type[KvbmSubject],
) -> None:
    findings = tried(subject(), *CLAUSES, "KV-LIF-08")
    assert findings.situations["a vector"]
    assert findings.failures.keys() == {"KV-IDN-04", "KV-IDN-05"}
    assert "963445745" in str(tried(Dynamo(), "KV-IDN-05").failures["KV-IDN-05"].verdict)


def test_a_subject_without_the_ability_is_skipped_and_told_why() -> None:
    judge = _Judge(ListSubject(), Findings(), blocked=False)
    for clause in CLAUSES:
        result = judge(clause)
        assert result.status is Status.SKIP
        assert result.reason == f"the subject has no {TRIAL_CHECKS[clause].ability}"


def test_a_clause_whose_situation_was_not_met_is_vacuous() -> None:
    class Local(Toy):  # cannot be made in another process
        pass

    judge = _Judge(Local(), tried(Local(), "KV-IDN-02"), blocked=False)
    assert judge("KV-IDN-02").status is Status.VACUOUS
    assert judge("KV-IDN-03").status is Status.VACUOUS


def test_a_subject_without_salts_is_not_asked_about_tenants() -> None:
    class Plain(ListSubject):
        identity_fields = staticmethod(tuple)
        hash_root, block_keys = Toy.hash_root, Toy.block_keys
        blocks, media, name_of, digest = Toy.blocks, Toy.media, Toy.name_of, Toy.digest

    assert status(Plain(), "KV-IDN-03") is Status.PASS
    assert status(Plain(), "KV-ISO-01") is Status.SKIP


# ── broken hashes ─────────────────────────────────────────────────────────────────────────


class CountsQuestions(Toy):
    asked = 0

    def digest(self, data: bytes) -> int:
        self.asked += 1
        return super().digest(data + bytes([self.asked % 256]))


class KnowsTheLength(Toy):
    def blocks(self, tokens: Sequence[int], size: int, identity: Identity) -> list[Block]:
        return [
            (None, (*block[1], len(tokens)), *block[2:])
            for block in super().blocks(tokens, size, identity)
        ]


class LooksOneAhead(Toy):
    def blocks(self, tokens: Sequence[int], size: int, identity: Identity) -> list[Block]:
        blocks = super().blocks(tokens, size, identity)
        return [
            (None, (*block[1], *tokens[(index + 1) * size :][:1]), *block[2:])
            for index, block in enumerate(blocks)
        ]


class ForgetsTheParent(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((None, *block[1:]))


class ForgetsTheGrandparent(Toy):
    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        blocks = self.blocks(tokens, block_size, identity)
        own = [self.name_of(block) for block in blocks]
        parents = [identity.parent, *own]
        return [self.name_of((parents[i], *block[1:])) for i, block in enumerate(blocks)]


class IgnoresTheParentThatIsGiven(Toy):
    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        return super().block_keys(tokens, block_size, replace(identity, parent=None))


class NamesPartialBlocks(Toy):
    def blocks(self, tokens: Sequence[int], size: int, identity: Identity) -> list[Block]:
        return super().blocks([*tokens, *[0] * (-len(tokens) % size)], size, identity)


class GivesTexts(Toy):
    def name_of(self, block: Block) -> Any:
        return hex(super().name_of(block))


class CutsTokens(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((block[0], tuple(t % 2**16 for t in block[1]), *block[2:]))


class RoundsTokens(Toy):
    def name_of(self, block: Block) -> int:
        data = struct.pack(f"<{len(block[1])}f", *block[1])
        return super().name_of((block[0], tuple(data), *block[2:]))


class IgnoresOrder(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((block[0], tuple(sorted(block[1])), *block[2:]))


class JoinsTokensToANumber(Toy):
    def name_of(self, block: Block) -> int:
        number = reduce(lambda number, token: number << 32 | token, block[1], 0)
        return super().name_of((block[0], (number,), *block[2:]))


class IgnoresBoundaries(Toy):
    """A key is that of all tokens so far."""

    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        return [
            self.name_of(
                (identity.parent, tuple(tokens[:end]), texts, self.media(identity, 0, end))
            )
            for texts in [tuple(getattr(identity, name) for name in TEXTS)]
            for end in range(block_size, len(tokens) + 1, block_size)
        ]


def changing_texts(change: Callable[[tuple[str | None, ...]], Any]) -> type[Toy]:
    """A hash that does something to the texts first."""

    class Changed(Toy):
        def name_of(self, block: Block) -> int:
            return super().name_of((*block[:2], change(block[2]), block[3]))

    return Changed


def each(change: Callable[[str], Any]) -> type[Toy]:
    return changing_texts(lambda texts: tuple(None if t is None else change(t) for t in texts))


def ignoring(name: str) -> type[Toy]:
    index = TEXTS.index(name)
    return changing_texts(lambda texts: (*texts[:index], None, *texts[index + 1 :]))


def changing_media(change: Callable[[Media], tuple[int, ...]]) -> type[Toy]:
    class Changed(Toy):
        def media(self, identity: Identity, start: int, size: int) -> tuple[tuple[int, ...], ...]:
            touched = super().media(identity, start, size)
            return tuple(change(Media(*media)) for media in touched)

    return Changed


def cutting_media(change: Callable[[int], Any]) -> type[Toy]:
    return changing_media(lambda media: (change(media.content), media.offset, media.length))


def joining(separator: str) -> type[Toy]:
    return changing_texts(lambda texts: separator.join(text or "" for text in texts))


def positional(separator: str) -> type[Toy]:
    """Every text has its place, and none is told from the empty one."""
    return changing_texts(lambda texts: separator.join(str(t) + "\1" * (t is None) for t in texts))


def by_hand(quote: str) -> type[Toy]:
    """An object that is written without escapes."""

    def write(texts: tuple[str | None, ...]) -> str:
        given = [(name, text) for name, text in zip(TEXTS, texts, strict=True) if text is not None]
        return ",".join(f"{quote}{name}{quote}:{quote}{text}{quote}" for name, text in given)

    return changing_texts(write)


class AllMediaInEveryBlock(Toy):
    def media(self, identity: Identity, *_: int) -> tuple[tuple[int, ...], ...]:
        return tuple((m.content, m.offset, m.length) for m in identity.media)


class MediaInTheFirstBlockOnly(Toy):
    def media(self, identity: Identity, start: int, size: int) -> tuple[tuple[int, ...], ...]:
        return () if start else super().media(identity, start, size)


class MixesMediaWithTexts(Toy):
    """`extra_keys`: whatever there is, as a set of texts."""

    def name_of(self, block: Block) -> int:
        extra = sorted({*filter(None, block[2]), *(str(media[0]) for media in block[3])})
        return super().name_of((*block[:2], tuple(extra), ()))


class XorsTexts(Toy):
    def name_of(self, block: Block) -> int:
        mixed = 0
        for text in block[2]:
            mixed ^= 0 if text is None else self.digest(f"{text}!".encode())
        return super().name_of((*block[:2], (str(mixed),), block[3]))


def laid_out(order: str, end: str = "<") -> type[Toy]:
    """A hash of bare bytes: `p`arent, `t`okens, te`x`ts and `m`edia one behind the other."""

    class Laid(Toy):
        def name_of(self, block: Block) -> int:
            parent, tokens, texts, media = block
            parts = {
                "p": b"" if parent is None else struct.pack(f"{end}Q", parent),
                "t": struct.pack(f"{end}{len(tokens)}I", *tokens),
                "x": b"".join(text.encode() for text in texts if text is not None),
                "m": b"".join(struct.pack(f"{end}Q", each[0]) for each in media),
            }
            rest = repr(
                [own for part, own in zip("xm", (texts, media), strict=True) if part not in order]
            )
            return self.digest(b"".join(parts[part] for part in order) + rest.encode())

    return Laid


class ChainsWithoutATag(Toy):
    """The key of a chain is a hash of two keys, and a block's one of its tokens."""

    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        keys: list[int] = []
        for _, own, *rest in self.blocks(tokens, block_size, identity):
            seed = repr(rest).encode() if any([*rest[0], *rest[1]]) else b""
            key = self.digest(struct.pack(f"<{len(own)}I", *own) + seed)
            parent = keys[-1] if keys else identity.parent
            chained = None if parent is None else self.digest(struct.pack("<2Q", parent, key))
            keys.append(key if chained is None else chained)
        return keys


def digesting(digest: Callable[[bytes], int]) -> type[Toy]:
    class Digesting(Toy):
        def digest(self, data: bytes) -> int:
            return digest(hashlib.sha256(data).digest())

    return Digesting


def of_bytes(combine: Callable[[int, Sequence[int]], int]) -> type[Toy]:
    """A hash that combines a start, made of all else, with the tokens; the chain is good."""

    class Combining(Toy):
        def name_of(self, block: Block) -> int:
            start = self.digest(repr((block[0], block[2], block[3], len(block[1]))).encode())
            return combine(start, block[1]) % 2**64

    return Combining


def polynomial(base: int) -> type[Toy]:
    def combine(start: int, tokens: Sequence[int]) -> int:
        for token in tokens:
            start = start * base + token
        return start

    return of_bytes(combine)


def xxh3(seed: int) -> type[Toy]:
    return of_bytes(
        lambda start, tokens: (
            start ^ xxhash.xxh3_64_intdigest(struct.pack(f"<{len(tokens)}I", *tokens), seed)
        )
    )


class XorsBlocks(Toy):
    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        key, keys = identity.parent or 0, []
        for block in self.blocks(tokens, block_size, identity):
            key ^= self.name_of(block)
            keys.append(key)
        return keys


class HashesByTheLanguage(Toy):
    def name_of(self, block: Block) -> int:
        texts = self.digest(repr(block[2:]).encode())
        return hash((block[0], block[1], texts)) % 2**64


class HashesTokensByTheLanguage(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((block[0], (hash(block[1]),), *block[2:]))


class TakesNoneForItsHash(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((vectors.HASH_OF_NONE if block[0] is None else block[0], *block[1:]))


class HashesParentsByTheLanguage(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((None if block[0] is None else hash(block[0]), *block[1:]))


def first(data: bytes, size: int) -> int:
    return int.from_bytes(data[:size])


def times(base: int, text: str, start: int = 0) -> int:
    return reduce(lambda number, byte: (number * base + byte) % 2**32, text.encode(), start)


def fnv(text: str) -> int:
    """FNV-1a, 32 bits."""
    return reduce(lambda n, byte: (n ^ byte) * 16777619 % 2**32, text.encode(), 2166136261)


MIX = 0x9E3779B97F4A7C15

BROKEN: list[tuple[str, str, type[Toy]]] = [
    ("another key each time", "KV-IDN-01", CountsQuestions),
    ("the length of the prompt enters", "KV-IDN-01", KnowsTheLength),
    ("the next token enters", "KV-IDN-01", LooksOneAhead),
    ("all media enter every block", "KV-IDN-01", AllMediaInEveryBlock),
    ("the parent is forgotten", "KV-IDN-01", ForgetsTheParent),
    ("only one block before counts", "KV-IDN-01", ForgetsTheGrandparent),
    ("a given parent is ignored", "KV-IDN-01", IgnoresTheParentThatIsGiven),
    ("partial blocks are named", "KV-IDN-01", NamesPartialBlocks),
    ("keys are texts", "KV-IDN-01", GivesTexts),
    ("tokens are cut to 16 bits", "KV-IDN-01", CutsTokens),
    ("order in a block is ignored", "KV-IDN-03", IgnoresOrder),
    ("boundaries are ignored", "KV-IDN-03", IgnoresBoundaries),
    ("tokens are joined to a number", "KV-IDN-03", JoinsTokensToANumber),
    ("media after the first block are ignored", "KV-IDN-03", MediaInTheFirstBlockOnly),
    ("a given parent is ignored, seen by parents", "KV-IDN-03", ForgetsTheParent),
    *((f"{name} is ignored", "KV-IDN-03", ignoring(name)) for name in TEXTS),
    ("case is ignored", "KV-IDN-03", each(str.lower)),
    ("texts are stripped", "KV-IDN-03", each(str.strip)),
    ("texts end at a NUL", "KV-IDN-03", each(lambda text: text.partition("\0")[0])),
    ("media are ignored", "KV-IDN-03", changing_media(lambda _: ())),
    ("content is ignored", "KV-IDN-03", cutting_media(lambda _: 0)),
    ("place is ignored", "KV-IDN-03", changing_media(lambda m: (m.content, m.length))),
    ("length is ignored", "KV-IDN-03", changing_media(lambda m: (m.content, m.offset))),
    ("texts are joined", "KV-IDN-04", joining("")),
    ("texts are joined with a bar", "KV-IDN-04", joining("|")),
    *(
        (f"texts are joined with {separator!r}", "KV-IDN-04", positional(separator))
        for separator in ("|", "\0")
    ),
    ("texts are joined by hand", "KV-IDN-04", by_hand('"')),
    ("texts are joined by hand, one quote", "KV-IDN-04", by_hand("'")),
    ("none is empty", "KV-IDN-04", changing_texts(lambda t: tuple(each or "" for each in t))),
    ("none is a text", "KV-IDN-04", changing_texts(lambda t: tuple(str(each) for each in t))),
    ("which text is forgotten", "KV-IDN-04", changing_texts(lambda t: tuple(filter(None, t)))),
    ("an image is a text", "KV-IDN-04", MixesMediaWithTexts),
    ("texts cancel out", "KV-IDN-04", XorsTexts),
    ("a text follows the tokens", "KV-IDN-04", laid_out("tx")),
    ("a text precedes the tokens", "KV-IDN-04", laid_out("xt", ">")),
    ("media follow the tokens", "KV-IDN-04", laid_out("tm")),
    ("the parent precedes the tokens", "KV-IDN-04", laid_out("pt")),
    ("the parent follows the tokens, big end first", "KV-IDN-04", laid_out("tp", ">")),
    ("a chain is hashed as tokens are", "KV-IDN-04", ChainsWithoutATag),
    ("the language's hash", "KV-IDN-05", HashesByTheLanguage),
    ("the language's hash of tuples", "KV-IDN-05", HashesTokensByTheLanguage),
    ("the language's hash of None", "KV-IDN-05", TakesNoneForItsHash),
    ("the language's hash of integers", "KV-IDN-05", HashesParentsByTheLanguage),
    *((f"polynomial, {base}", "KV-IDN-05", polynomial(base)) for base in (31, 131, 65537)),
    ("sum", "KV-IDN-05", of_bytes(lambda start, tokens: start + sum(tokens))),
    ("blocks are xored", "KV-IDN-05", XorsBlocks),
    ("xxh3 without a seed", "KV-IDN-05", xxh3(0)),
    ("xxh3 with a seed in print", "KV-IDN-05", xxh3(1337)),
    ("32 bits", "KV-IDN-05", digesting(lambda data: first(data, 4))),
    ("63 bits", "KV-IDN-05", digesting(lambda data: first(data, 8) >> 1)),
    ("48 bits at the top", "KV-IDN-05", digesting(lambda data: first(data, 6) << 16)),
    ("32 bits twice", "KV-IDN-05", digesting(lambda data: first(data, 4) * (2**32 + 1))),
    ("CRC-32 of a good hash", "KV-IDN-05", digesting(zlib.crc32)),
    ("media are cut to 16 bits", "KV-IDN-08", cutting_media(lambda number: number % 2**16)),
    ("media lose their low bits", "KV-IDN-08", cutting_media(lambda number: number >> 16)),
    ("media lose one bit", "KV-IDN-08", cutting_media(lambda number: number & ~(1 << 40))),
    ("media are folded", "KV-IDN-08", cutting_media(lambda n: n >> 32 ^ n % 2**32)),
    ("media are added up", "KV-IDN-08", cutting_media(lambda n: (n >> 32) + n % 2**32)),
    ("media are rounded", "KV-IDN-08", cutting_media(float)),
    ("media modulo a prime", "KV-IDN-08", cutting_media(lambda number: number % (2**32 - 5))),
    ("media by the language's hash", "KV-IDN-08", cutting_media(hash)),
    ("tokens are rounded", "KV-IDN-08", RoundsTokens),
    ("texts are cut", "KV-IDN-08", each(lambda text: text[:64])),
    ("texts lose what is not ASCII", "KV-IDN-08", each(lambda t: t.encode("ascii", "replace"))),
    ("texts by CRC-32", "KV-IDN-08", each(lambda text: zlib.crc32(text.encode()))),
    ("texts by Adler-32", "KV-IDN-08", each(lambda text: zlib.adler32(text.encode()))),
    ("texts by a polynomial", "KV-IDN-08", each(lambda text: times(31, text))),
    ("texts by another", "KV-IDN-08", each(lambda text: times(33, text, 5381))),
    ("texts by FNV", "KV-IDN-08", each(fnv)),
    ("texts of one byte each", "KV-IDN-08", each(lambda text: bytes(ord(c) % 256 for c in text))),
    ("texts by 16 bits", "KV-IDN-08", each(lambda t: hashlib.sha256(t.encode()).digest()[:2])),
    ("another root in each process", "KV-IDN-02", RandomRoot),
    ("the language's hash of texts", "KV-IDN-02", HashesTextsByTheLanguage),
    ("another root in each process, told", "KV-IDN-07", ToldRandomRoot),
    ("the salt is ignored", "KV-ISO-01", ignoring("salt")),
    ("the namespace is ignored in keys", "KV-ISO-03", ignoring("namespace")),
]


@pytest.mark.parametrize(
    ("clause", "broken"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_every_broken_hash_fails_the_clause_that_it_is_about(
    clause: str, broken: type[Toy]
) -> None:
    failure = tried(broken(), clause).failures[clause]
    assert " raised " not in failure.verdict.what


@pytest.mark.clause("KV-IDN-05")
def test_32_bits_that_are_spread_over_64_are_found_by_their_birthday_alone() -> None:
    spread = digesting(lambda data: first(data, 4) * MIX % 2**64)()
    assert "KV-IDN-05" not in tried(spread, "KV-IDN-05").failures
    failure = tried(spread, "KV-IDN-05", effort="ci").failures["KV-IDN-05"]
    again = replayed.play(spread, replayed.write(failure), "again")
    assert again is not None
    assert again.verdict == failure.verdict
    assert replayed.play(Toy(), replayed.write(failure), "again") is None


def test_a_failure_shows_both_questions() -> None:
    failure = tried(ignoring("salt")(), "KV-IDN-03").failures["KV-IDN-03"]
    assert [str(line).startswith("keys([1, 2, 3, 4], size 4") for line in failure.steps[:2]]
    assert "salt='a'" in failure.verdict.what


def test_a_crash_is_told_with_its_question() -> None:
    failure = tried(each(lambda text: text.encode("ascii"))(), "KV-IDN-03").failures["KV-IDN-03"]
    assert "salt='é'" in failure.verdict.what
    assert "UnicodeEncodeError" in failure.verdict.what


# ── another process, roots ────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-IDN-02")
def test_a_subject_that_fails_in_another_process_has_no_keys_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KVBM_TOY_HOME", "elsewhere")
    failure = tried(FailsElsewhere(), "KV-IDN-02").failures["KV-IDN-02"]
    assert "no such root" in failure.verdict.what


@pytest.mark.parametrize("name", ["no_such_module:X", "json:Nothing", "json:dumps", "__main__:X"])
def test_what_cannot_be_made_in_another_process_has_no_answer(name: str) -> None:
    assert elsewhere.answers_elsewhere(name, hash_seed="0") is None


@pytest.mark.clause("KV-IDN-02")
def test_a_scheme_in_print_is_held_to_its_vectors() -> None:
    class Claims(Toy):
        def hash_root(self) -> str:
            return "dynamo:1337"

    assert "scheme dynamo gives" in str(tried(Claims(), "KV-IDN-02").failures["KV-IDN-02"].verdict)


PROGRAM = """
            elif operation == "block_keys":
                answer["ok"] = block_keys(**arguments)
            elif operation == "open":"""
KEYS = """
import hashlib, os
ROOT = %s
def block_keys(tokens, block_size, parent, salt):
    keys = [parent]
    for start in range(0, len(tokens) - block_size + 1, block_size):
        block = [ROOT, keys[-1], tokens[start : start + block_size], salt]
        digest = hashlib.sha256(json.dumps(block).encode()).digest()
        keys.append(int.from_bytes(digest[:8], "big"))
    return keys[1:]
HELLO["capabilities"]["hashing"] = %s

if __name__ == "__main__":"""
GOOD = {"root": "toy:0", "fields": ["salt"], "tenants": ["salt"]}
Start = Callable[..., ProcessSubject]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the example of an adapter, with a hash of its own."""
    with ExitStack() as started:

        def program(root: str = "0", declared: object = GOOD) -> ProcessSubject:
            text = ADAPTER.read_text("utf-8")
            text = text.replace('\n            elif operation == "open":', PROGRAM)
            text = text.replace('\nif __name__ == "__main__":', KEYS % (root, declared))
            (tmp_path / "program.py").write_text(text, "utf-8")
            subject = ProcessSubject([sys.executable, "-S", str(tmp_path / "program.py")])
            return started.enter_context(subject)

        yield program


def test_a_program_that_names_blocks_is_asked_over_its_pipe(start: Start) -> None:
    subject = start()
    findings = tried(subject, *CLAUSES)
    assert not findings.failures
    judge = _Judge(subject, findings, blocked=False)
    passed = {clause for clause in CLAUSES if judge(clause).status is Status.PASS}
    assert passed == {*HASHING, *TENANTS}


def test_a_program_with_a_root_for_each_process_is_started_twice_and_found(start: Start) -> None:
    assert "KV-IDN-02" in tried(start("os.getpid()"), "KV-IDN-02").failures


def test_a_program_has_as_much_of_a_hash_as_it_declares(start: Start) -> None:
    no_tenants = start(declared={"root": "toy:0", "fields": []})
    assert abilities.has(no_tenants, "hashing", CONFIG)
    assert not abilities.has(no_tenants, "tenants", CONFIG)
    assert not abilities.has(start(declared=None), "hashing", CONFIG)


@pytest.mark.parametrize(
    "declared",
    [{"root": "toy:0"}, {"fields": []}, {"root": "", "fields": ["taste"]}, "yes",
     {"root": "", "fields": [], "tenants": "salt"}],
)  # fmt: skip
def test_a_declaration_of_another_form_is_no_hash(start: Start, declared: object) -> None:
    with pytest.raises(AdapterError, match="hashing has a root, and fields"):
        start(declared=repr(declared) if isinstance(declared, str) else declared)


class Shares(Toy):
    def share(self, hash_root: str) -> None:
        if hash_root != self.hash_root():
            raise SubjectError("Unsupported")


class SharesWithAll(Toy):
    def share(self, hash_root: str) -> None:
        del hash_root


class SharesWithTheScheme(Shares):
    def share(self, hash_root: str) -> None:
        super().share(hash_root if not hash_root.startswith("toy") else self.hash_root())


class SharesWithNobody(Toy):
    def share(self, hash_root: str) -> None:
        raise SubjectError("Unsupported", hash_root)


class TellsNoScheme(Shares):
    def hash_root(self) -> str:
        return "0"


@pytest.mark.clause("KV-IDN-07")
def test_a_root_is_told_and_others_are_refused() -> None:
    assert status(Shares(), "KV-IDN-07") is Status.PASS
    for broken in (SharesWithAll, SharesWithTheScheme, SharesWithNobody, TellsNoScheme):
        assert "KV-IDN-07" in tried(broken(), "KV-IDN-07").failures


# ── a weak hash, and full hits ────────────────────────────────────────────────────────────


class Compares:
    """One key for all; the first block stays."""

    def __init__(self) -> None:
        self.held: list[tuple[int, ...]] = []
        self.differed = 0

    def publish(self, tokens: Sequence[int]) -> None:
        self.held = self.held or [tuple(tokens)]

    def hits(self, tokens: Sequence[int]) -> int:
        self.differed += self.held not in ([], [tuple(tokens)])
        return int(tuple(tokens) in self.held)

    def collisions(self) -> int:
        return self.differed


class TrustsTheHash(Compares):
    def hits(self, tokens: Sequence[int]) -> int:
        return max(super().hits(tokens), len(self.held))


class ComparesTheFirstToken(Compares):
    def hits(self, tokens: Sequence[int]) -> int:
        super().hits(tokens)
        return sum(held[0] == tokens[0] for held in self.held)


class CountsNothing(Compares):
    def collisions(self) -> int:
        return 0


class NeverHits(Compares):
    def hits(self, tokens: Sequence[int]) -> int:
        super().hits(tokens)
        return 0


class KeepsBoth(Compares):
    def publish(self, tokens: Sequence[int]) -> None:
        self.held.append(tuple(tokens))


def colliding(pool: type[Compares]) -> ListSubject:
    class Weak(ListSubject):
        def open_colliding(self, config: PoolConfig) -> Compares:
            del config
            return pool()

    return Weak()


@pytest.mark.clause("KV-IDN-06")
def test_a_collision_must_be_a_counted_miss() -> None:
    assert status(colliding(Compares), "KV-IDN-06") is Status.PASS
    for broken in (TrustsTheHash, ComparesTheFirstToken, CountsNothing, NeverHits, KeepsBoth):
        assert status(colliding(broken), "KV-IDN-06") is Status.FAIL


class Saves(Toy):
    """Says how much a hit saves."""

    full_hit = "n"

    def usable_tokens(self, pool: ListPool, tokens: Sequence[int], block_size: int) -> int:
        hits = pool.match(self.block_keys(tokens, block_size, Identity()))
        for handle in reversed(hits):
            pool.release(handle)
        return self.saved(len(hits) * block_size, len(tokens))

    def saved(self, hit: int, length: int) -> int:
        del length
        return hit


class SavesAllButOne(Saves):
    full_hit = "n-1"

    def saved(self, hit: int, length: int) -> int:
        return min(hit, length - 1)


class SavesAllButABlock(Saves):
    full_hit = "last block"

    def saved(self, hit: int, length: int) -> int:
        return hit - 4 * (hit == length)


class LeavesNothingToCompute(SavesAllButOne):
    saved = Saves.saved


class AlwaysLeavesABlock(SavesAllButABlock):
    def saved(self, hit: int, length: int) -> int:
        return (length - 1) // 4 * 4 if hit else 0


class RoundsDown(SavesAllButOne):
    full_hit = "n-1"

    def saved(self, hit: int, length: int) -> int:
        return min(hit, (length - 1) // 4 * 4)


class HasNoRule(Saves):
    full_hit = "some"


@pytest.mark.clause("KV-REG-08")
def test_a_full_hit_must_save_what_the_declared_rule_says() -> None:
    for right in (Saves, SavesAllButOne, SavesAllButABlock):
        assert status(right(), "KV-REG-08") is Status.PASS
    for broken in (LeavesNothingToCompute, AlwaysLeavesABlock, RoundsDown, HasNoRule):
        assert status(broken(), "KV-REG-08") is Status.FAIL


class SaltedTwice(OneScheme):
    """Names blocks by the right scheme with the wrong salt."""

    def block_keys(self, tokens, block_size, identity):
        return super().block_keys(tokens, block_size, identity.having(salt="again"))


def test_every_scheme_that_a_subject_has_is_held_to_its_vectors() -> None:
    trial = next(trial for trial in TRIALS if trial.name == "vectors of all schemes")
    findings = trial.run(KvbmSubject(), "smoke")
    assert not findings.failures
    assert findings.situations["a vector"] >= 40
    for scheme in ("dynamo", "dynamo-v1", "lineage"):  # nobody else has our sha256

        class Wrong(KvbmSubject):
            def schemes(self):
                return super().schemes() | {scheme: SaltedTwice(scheme)}  # noqa: B023

        assert "KV-IDN-02" in trial.run(Wrong(), "smoke").failures
