"""The hash schemes by name.

What this is
    Four rules for naming blocks, and the table in which they are found:

        name         block hash        chain                 salt                       bits
        dynamo       xxh3, seed salt   xxh3, seed 1337       sum of two hashes            64
        dynamo-v1    xxh3, seed salt   xxh3, seed salt       hash of a JSON object        64
        lineage      as dynamo         as dynamo, packed     as dynamo                   128
        sha256       sha256            sha256                sha256                      256

    In the xxh3 schemes the sequence hash of the first block is its block hash.

Interface, as rules of use
    * `scheme(name)` finds a scheme; what is a scheme already passes through.
    * Hashes of two schemes never mean the same. Store the scheme's name beside them.
    * One block at a time goes the plain way, over `xxhash`; `hash_blocks` of the xxh3
      schemes goes the compiled way. The results are the same.

Clauses: KV-IDN-01, KV-IDN-03, KV-IDN-05
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from kvbm.errors import InvalidPosition, UnknownScheme
from kvbm.identity import xxh3
from kvbm.identity.content import BlockContent, Windows
from kvbm.identity.lineage import LINEAGE_POSITIONS, PositionalLineageHash
from kvbm.identity.reference import (
    CHAIN_SEED,
    NO_MEDIA,
    HashScheme,
    chain_hash,
    xxh3_64,
)
from kvbm.identity.salt import SaltHash
from kvbm.identity.sha256 import Sha256Scheme


@final
@dataclass(frozen=True)
class Xxh3Scheme(HashScheme[int]):
    """XXH3 with 64 bits. The two versions differ in salt and chain seed."""

    name: str
    salted_chain: bool
    """Whether the salt seeds the chain too (v1), or the constant 1337."""

    bits = 64

    def salt(self, lora_name: str | None, cache_namespace: str | None) -> int:
        """Make the salt of an adapter and a namespace; v1 calls the latter *salt*."""
        make = SaltHash.dynamo_v1 if self.salted_chain else SaltHash.dynamo
        return make(lora_name, cache_namespace)

    def checked_salt(self, salt: Any) -> int:
        """Give `salt` as a `SaltHash`."""
        return SaltHash(salt)

    def chain_seed(self, salt: int) -> int:
        """Seed of the chain."""
        return salt if self.salted_chain else CHAIN_SEED

    def block_hash(self, content: BlockContent, salt: int) -> int:
        """Name the content of one block, 64 bits."""
        return xxh3_64(content.tokens + content.media, salt)

    def root(self, block_hash: int) -> int:
        """Take the block hash as it is."""
        return block_hash

    def child(self, parent: int, block_hash: int, salt: int) -> int:
        """Chain the block hash to the parent, 64 bits."""
        return chain_hash(parent, block_hash, self.chain_seed(salt))

    def hash_blocks(
        self,
        windows: Windows,
        salt: int,
        parent: int | None = None,
        media: Mapping[int, BlockContent] = NO_MEDIA,
    ) -> tuple[xxh3.Hashes, xxh3.Hashes]:
        """Do in one compiled pass what the plain loop does. uint64[blocks], twice."""
        known = {index: self.block_hash(content, salt) for index, content in media.items()}
        return xxh3.hash_blocks(
            windows.tokens,
            windows.block_size,
            windows.width,
            salt,
            self.chain_seed(salt),
            parent,
            known,
        )


DYNAMO = Xxh3Scheme("dynamo", salted_chain=False)
DYNAMO_V1 = Xxh3Scheme("dynamo-v1", salted_chain=True)


@final
class LineageScheme(HashScheme[int]):
    """The hashes of `dynamo`, packed with position and parent into 128 bits."""

    name = "lineage"
    bits = 128

    def salt(self, lora_name: str | None, cache_namespace: str | None) -> int:
        """Make the salt, which is that of `dynamo`."""
        return DYNAMO.salt(lora_name, cache_namespace)

    def checked_salt(self, salt: Any) -> int:
        """Give `salt` as a `SaltHash`."""
        return DYNAMO.checked_salt(salt)

    def block_hash(self, content: BlockContent, salt: int) -> int:
        """Name the content of one block, 64 bits."""
        return DYNAMO.block_hash(content, salt)

    def root(self, block_hash: int) -> PositionalLineageHash:
        """Pack the hash of a first block, 128 bits."""
        return PositionalLineageHash.pack(DYNAMO.root(block_hash), None, 0)

    def child(self, parent: int, block_hash: int, salt: int) -> PositionalLineageHash:
        """Pack the hash of the next block, 128 bits. The parent says where it stands."""
        before = PositionalLineageHash(parent)
        sequence_hash = DYNAMO.child(before.sequence_hash, block_hash, salt)
        return PositionalLineageHash.pack(sequence_hash, before.sequence_hash, before.position + 1)

    def hash_blocks(
        self,
        windows: Windows,
        salt: int,
        parent: int | None = None,
        media: Mapping[int, BlockContent] = NO_MEDIA,
    ) -> tuple[xxh3.Hashes, list[PositionalLineageHash]]:
        """Hash in one compiled pass, then pack. uint64[blocks] and a list of 128-bit ints.

        Raises
        ------
        InvalidPosition
            A block would stand at position 2**24 or further on. Nothing was hashed.
        """
        before = None if parent is None else PositionalLineageHash(parent)
        first = 0 if before is None else before.position + 1
        if first + len(windows) > LINEAGE_POSITIONS:
            raise InvalidPosition(max(first, LINEAGE_POSITIONS), LINEAGE_POSITIONS)
        last = None if before is None else before.sequence_hash
        block_hashes, chain = DYNAMO.hash_blocks(windows, salt, last, media)
        packed: list[PositionalLineageHash] = []
        for position, sequence_hash in enumerate(chain.tolist(), first):
            packed.append(PositionalLineageHash.pack(sequence_hash, last, position))
            last = sequence_hash
        return block_hashes, packed


SCHEMES: Mapping[str, HashScheme[Any]] = {
    known.name: known for known in (DYNAMO, DYNAMO_V1, LineageScheme(), Sha256Scheme())
}


def scheme(name: str | HashScheme[Any]) -> HashScheme[Any]:
    """Find a hash scheme by its name.

    Parameters
    ----------
    name
        `dynamo`, `dynamo-v1`, `lineage` or `sha256`; or a scheme, which is given back.

    Raises
    ------
    UnknownScheme
        There is none of this name.

    Examples
    --------
    >>> scheme("lineage").bits
    128
    """
    if isinstance(name, str) and name in SCHEMES:
        return SCHEMES[name]
    if isinstance(name, HashScheme):
        return name
    raise UnknownScheme(name, tuple(SCHEMES))
