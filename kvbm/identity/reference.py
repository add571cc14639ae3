"""The plain twin: how a prompt becomes the keys of its blocks, without anything fast.

What this is
    Three questions make a hash scheme: what names the content of one block, what names
    a sequence that ends with its first block, and what names a sequence that is one
    block longer. `HashScheme` asks them, and `HashScheme.hash_blocks` is the loop that
    every other way of hashing must equal, bit for bit.

Interface, as rules of use
    * A block hash names one block's content, a sequence hash all content up to its end.
      Two equal block hashes in different prompts say nothing about the KV: attention
      has looked at what came before. Look blocks up by sequence hash.
    * Only whole windows are hashed. What is left at the end has no name yet.
    * The xxh3 schemes are not cryptographic. Between tenants that do not trust each
      other use `sha256`, or compare the stored tokens.
    * For a scheme of your own, derive from `HashScheme` and answer the questions.

Clauses: KV-IDN-01, KV-IDN-02
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import xxhash
from numpy.typing import NDArray

from kvbm.identity.content import BlockContent, Windows

Hashes: TypeAlias = "NDArray[np.uint64] | list[Any]"
"""Many hashes: a uint64 array where they have 64 bits, else a list of them."""

Hash = TypeVar("Hash", int, bytes)
"""What a scheme's hashes and salts are: integers of its number of bits, or bytes."""

CHAIN_SEED = 1337
"""Seed of the chain in schemes `dynamo` and `lineage`; the salt does not enter it."""

NO_MEDIA: Mapping[int, BlockContent] = {}


def xxh3_64(data: bytes, seed: int = 0) -> int:
    """XXH3 of `data`, 64 bits, with a 64-bit seed. O(bytes)."""
    return xxhash.xxh3_64_intdigest(data, seed)


def chain_hash(parent: int, block_hash: int, seed: int) -> int:
    """Sequence hash of a block from its parent's: 16 bytes, little end first. O(1)."""
    return xxh3_64(struct.pack("<QQ", parent, block_hash), seed)


@runtime_checkable
class HashScheme(Protocol[Hash]):
    """How blocks and sequences of blocks get their names."""

    name: str
    """Name under which the scheme is asked for, and stored beside its hashes."""

    bits: int
    """Width of a sequence hash, in bits."""

    def salt(self, lora_name: str | None, cache_namespace: str | None) -> Hash:
        """Make the salt of an adapter and a namespace."""

    def checked_salt(self, salt: Any) -> Hash:
        """Give `salt` back if it can be one of this scheme's, else raise `IdentityError`."""

    def block_hash(self, content: BlockContent, salt: Hash) -> Hash:
        """Name the content of one block, whatever came before it."""

    def root(self, block_hash: Hash) -> Hash:
        """Sequence hash of a block that has no parent."""

    def child(self, parent: Hash, block_hash: Hash, salt: Hash) -> Hash:
        """Sequence hash of the block after the one whose sequence hash is `parent`."""

    def hash_blocks(
        self,
        windows: Windows,
        salt: Hash,
        parent: Hash | None = None,
        media: Mapping[int, BlockContent] = NO_MEDIA,
    ) -> tuple[Hashes, Hashes]:
        """Hash every window and chain the hashes.

        Parameters
        ----------
        windows
            The tokens, cut.
        salt
            Salt of all blocks.
        parent
            Sequence hash of the block before the first, or None where the first is the root.
        media
            Content of the blocks that hold more than tokens, by index, ascending.

        Returns
        -------
        block_hashes, sequence_hashes : [blocks]
            Arrays of uint64 or lists, as the scheme has it.

        Complexity
        ----------
        O(tokens).

        Clauses: KV-IDN-01
        """
        block_hashes: list[Hash] = []
        sequence_hashes: list[Hash] = []
        for index in range(len(windows)):
            content = media.get(index) or windows.content(index)
            block_hash = self.block_hash(content, salt)
            parent = (
                self.root(block_hash) if parent is None else self.child(parent, block_hash, salt)
            )
            block_hashes.append(block_hash)
            sequence_hashes.append(parent)
        return block_hashes, sequence_hashes
