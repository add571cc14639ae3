"""A tiny subject that names blocks rightly, and those that only another process gives away."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from kvbm_spec.identity import TEXTS, Identity
from list_pool import ListSubject

Block = tuple[int | None, tuple[int, ...], tuple[str | None, ...], tuple[tuple[int, ...], ...]]
"""What a block is: parent, tokens, texts, and the media that it touches."""


class Toy(ListSubject):
    """SHA-256, cut to 64 bits, of what Python writes for a block: typed, and with all borders."""

    def identity_fields(self) -> tuple[str, ...]:
        return (*TEXTS, "media", "parent")

    def tenant_fields(self) -> tuple[str, ...]:
        return ("salt", "namespace")

    def hash_root(self) -> str:
        return "toy:0"

    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        keys: list[int] = []
        for block in self.blocks(tokens, block_size, identity):
            keys.append(self.name_of((keys[-1] if keys else identity.parent, *block[1:])))
        return keys

    # ── what mutants replace ──────────────────────────────────────────────────────────────

    def blocks(self, tokens: Sequence[int], size: int, identity: Identity) -> list[Block]:
        texts = tuple(getattr(identity, name) for name in TEXTS)
        return [
            (None, tuple(tokens[start : start + size]), texts, self.media(identity, start, size))
            for start in range(0, len(tokens) - size + 1, size)
        ]

    def media(self, identity: Identity, start: int, size: int) -> tuple[tuple[int, ...], ...]:
        return tuple(
            (each.content, each.offset - start, each.length)
            for each in identity.media
            if each.offset < start + size and each.offset + each.length > start
        )

    def name_of(self, block: Block) -> int:
        return self.digest(repr(block).encode())

    def digest(self, data: bytes) -> int:
        return int.from_bytes(hashlib.sha256(data).digest()[:8])


class RandomRoot(Toy):
    root = os.urandom(8)

    def digest(self, data: bytes) -> int:
        return super().digest(self.root + data)


class ToldRandomRoot(RandomRoot):
    def hash_root(self) -> str:
        return f"toy:{self.root.hex()}"


class HashesTextsByTheLanguage(Toy):
    def name_of(self, block: Block) -> int:
        return super().name_of((*block[:2], tuple(str(hash(text)) for text in block[2]), block[3]))


class FailsElsewhere(Toy):
    home = os.environ.get("KVBM_TOY_HOME", "")

    def hash_root(self) -> str:
        if self.home:
            raise OSError("no such root")
        return super().hash_root()
