"""Hashes that are wrong, each in one way, with the clause that it breaks."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import xxhash
from kvbm_spec.identity import TEXTS, Identity, Media
from kvbm_spec.trials import collisions as vectors
from toy_hash import (
    Block,
    HashesTextsByTheLanguage,
    RandomRoot,
    ToldRandomRoot,
    Toy,
)


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
