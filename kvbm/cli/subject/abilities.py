"""Abilities: what this package's pool can do beside the calls that every pool has.

What this is
    The further protocols of `kvbm_spec.abilities`, each a few lines on `PoolManager`.

Clauses: KV-OWN-06
"""

from __future__ import annotations

from kvbm.blocks import ImmutableBlock
from kvbm.blocks.handles import Block, WeakBlock
from kvbm.cli.subject.pool import PoolManager, refusals
from kvbm.errors import BlockStateInvalid


class KvbmManager(PoolManager):
    """A BlockPool with all that it can do."""

    # ── Remembering ───────────────────────────────────────────────────────────────────

    def downgrade(self, handle: Block) -> WeakBlock:
        """Let go of a block, and remember it."""
        with refusals():
            return _registered(handle, "downgrade").downgrade()

    def upgrade(self, weak: WeakBlock) -> ImmutableBlock | None:
        """Hold the block again, if it is there."""
        with refusals():
            return weak.upgrade()


def _registered(handle: Block, operation: str) -> ImmutableBlock:
    if not isinstance(handle, ImmutableBlock):
        raise BlockStateInvalid(operation, handle.state.block_state, "It is not registered.")
    return handle
