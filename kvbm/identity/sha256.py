"""Scheme `sha256`: keys that nobody can forge, for tenants that do not trust each other.

What this is
    With a 64-bit hash, whoever may choose tokens can search for two prompts with one
    key, and be served the KV of somebody else. SHA-256 rules that out, at the price of
    about four microseconds per block of 16 tokens.

    What is hashed is a tuple of fields. Each is written as one byte for its type, eight
    for its length, little end first, and then itself:

        N    nothing, of length 0
        T    text as UTF-8
        I    an integer in 0 … 2**64 - 1, as eight bytes, little end first
        B    bytes

    The first field is a text that says what the tuple is about. So two different tuples
    are never the same bytes.

        salt       "kvbm/1/salt", adapter, namespace
        block      "kvbm/1/block", salt, block size, tokens, media
        sequence   "kvbm/1/sequence", sequence hash of the parent or nothing, block hash

Interface, as rules of use
    * Hashes and salts are `bytes`, 32 of them.
    * Absent and empty names give different salts.
    * The salt separates tenants, and still is no secret: access must be checked too.

Clauses: KV-IDN-01, KV-IDN-03, KV-IDN-04, KV-IDN-05
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias, final

from kvbm.errors import IdentityError
from kvbm.identity.content import BlockContent
from kvbm.identity.reference import HashScheme
from kvbm.identity.salt import checked_text

Field: TypeAlias = str | bytes | int | None

DIGEST_BYTES = 32


def encode(*fields: Field) -> bytes:
    """Write a tuple of fields so that no other tuple has the same bytes. O(bytes).

    Clauses: KV-IDN-04

    Examples
    --------
    >>> encode("a", "bc") == encode("ab", "c")
    False
    """
    parts: list[bytes] = []
    for field in fields:
        if field is None:
            kind, data = b"N", b""
        elif isinstance(field, str):
            kind, data = b"T", field.encode()
        elif isinstance(field, int):
            kind, data = b"I", field.to_bytes(8, "little")
        else:
            kind, data = b"B", field
        parts += (kind, len(data).to_bytes(8, "little"), data)
    return b"".join(parts)


def digest(*fields: Field) -> bytes:
    """SHA-256 of a tuple of fields, 32 bytes."""
    return hashlib.sha256(encode(*fields)).digest()


@final
class Sha256Scheme(HashScheme[bytes]):
    """SHA-256 over typed fields. The loop over blocks is the plain one."""

    name = "sha256"
    bits = 256

    def salt(self, lora_name: str | None, cache_namespace: str | None) -> bytes:
        """Make the salt of an adapter and a namespace, 32 bytes."""
        adapter = checked_text("lora_name", lora_name)
        namespace = checked_text("cache_namespace", cache_namespace)
        return digest("kvbm/1/salt", adapter, namespace)

    def checked_salt(self, salt: Any) -> bytes:
        """Give `salt` back if it is 32 bytes."""
        if not isinstance(salt, bytes) or len(salt) != DIGEST_BYTES:
            raise IdentityError(f"salt = {salt!r}: scheme sha256 needs {DIGEST_BYTES} bytes")
        return salt

    def block_hash(self, content: BlockContent, salt: bytes) -> bytes:
        """Name the content of one block, 32 bytes."""
        return digest("kvbm/1/block", salt, content.block_size, content.tokens, content.media)

    def root(self, block_hash: bytes) -> bytes:
        """Sequence hash of a block without parent, 32 bytes."""
        return digest("kvbm/1/sequence", None, block_hash)

    def child(self, parent: bytes, block_hash: bytes, salt: bytes) -> bytes:  # noqa: ARG002 — it is in the block hash
        """Sequence hash of the next block, 32 bytes."""
        return digest("kvbm/1/sequence", parent, block_hash)
