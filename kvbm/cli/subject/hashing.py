"""Hashing: how this package names blocks, as the suite asks for it.

What this is
    A part of `KvbmSubject`: keys by the hash scheme `scheme`, and a pool whose hash is
    weakened on purpose.

Interface, as rules of use
    * The suite judges the hash of scheme `sha256`: the others are those of Dynamo, whose keys
      are to be equal to Dynamo's, and cannot keep all clauses of identity.
    * For another scheme derive from `KvbmSubject` and set `scheme`.

Clauses: KV-IDN-01, KV-IDN-02, KV-IDN-03, KV-IDN-04, KV-IDN-05, KV-IDN-06
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kvbm_spec.identity import Hashing, Identity
from kvbm_spec.subject import PoolConfig

from kvbm.cli.subject.pool import plain
from kvbm.identity import MultimodalRun, TokenBlock, Tokens, Windows
from kvbm.identity import scheme as scheme_named
from kvbm.identity.multimodal import checked_runs, run_contents
from kvbm.pool import BlockPool


class KvbmHashing:
    """What names blocks: a scheme. See `kvbm_spec.identity` for the methods."""

    scheme = "sha256"

    def identity_fields(self) -> tuple[str, ...]:
        """See Hashing. Model, dtype and layout stand in the salt where they are to count."""
        return ("salt", "adapter", "media", "parent")

    def schemes(self) -> Mapping[str, Hashing]:
        """See Schemed."""
        return {name: OneScheme(name) for name in ("dynamo", "dynamo-v1", "lineage")}

    def tenant_fields(self) -> tuple[str, ...]:
        """See Separating."""
        return ("salt",)

    def hash_root(self) -> str:
        """See Hashing. The root is what the salt is without adapter and namespace."""
        root = scheme_named(self.scheme).salt(None, None)
        return f"{self.scheme}:{root.hex() if isinstance(root, bytes) else root}"

    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[Any]:
        """See Hashing. Media are runs of placeholders."""
        scheme = scheme_named(self.scheme)
        windows = Windows(Tokens(tokens).array, block_size)
        runs = [MultimodalRun(each.content, each.offset, each.length) for each in identity.media]
        names = scheme.hash_blocks(
            windows,
            scheme.salt(identity.adapter, identity.salt),
            identity.parent,
            run_contents(windows, 0, checked_runs(runs, 0, len(tokens))),
        )[1]
        return [plain(name) for name in names]

    def open_colliding(self, config: PoolConfig) -> CollidingPool:
        """See Colliding."""
        return CollidingPool(config)


class OneScheme(KvbmHashing):
    """What names blocks by a scheme of the caller's choice."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme


class CollidingPool:
    """A pool that compares tokens, and is given one hash for all blocks."""

    def __init__(self, config: PoolConfig) -> None:
        self._size = config.block_size
        self._pool = BlockPool(config.slots, page_size=self._size, verify_tokens=True)

    def publish(self, tokens: Sequence[int]) -> None:
        """Register a block, and let go of it."""
        (block,) = self._pool.allocate_blocks(1)
        block.apply_token_block(self._block(tokens))
        self._pool.register_blocks([block])[0].release()

    def hits(self, tokens: Sequence[int]) -> int:
        """Match a block, and let go of it."""
        with self._pool.match_token_blocks([self._block(tokens)]) as found:
            return len(found)

    def collisions(self) -> int:
        """Read the statistics."""
        return self._pool.statistics().collisions

    def _block(self, tokens: Sequence[int]) -> TokenBlock:
        return TokenBlock(Tokens(tokens).array, self._size, 0, 1, 1, None, 0)
