"""What handles ask of others: of whoever holds slots, of memory, of the pool.

What this is
    The three protocols at the lower edge of this room. A pool implements `Home`, a handle or
    a list of them is a `Holder`, and a bound layout is `BlockMemory`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from kvbm.blocks.keys import Hashes, SequenceHash
from kvbm.blocks.lifecycle import Operation
from kvbm.blocks.slots import Ids, Slots
from kvbm.identity import SaltHash, TokenBlock

if TYPE_CHECKING:  # handles import this module
    from kvbm.blocks.handles import ImmutableBlock, WeakBlock


class Holder(Protocol):
    """Whoever holds slots: a handle or a list."""

    def _held_ids(self) -> Ids:
        """Give the slots, int64. Raises StaleHandleError if one of the holds has ended."""


class BlockMemory(Protocol):
    """Where the bytes of a pool's blocks are: `kvbm.layout.BoundLayout` is one."""

    config: Any  # the numbers of a block, such as `kvbm.layout.LayoutConfig`

    def layer_view(
        self, block: int, layer: int, outer: int, *, readonly: bool, alive: Callable[[], bool]
    ) -> Any:
        """View one region of a block for as long as it is `alive`."""

    def block_view(self, block: int, *, readonly: bool, alive: Callable[[], bool]) -> Any:
        """View one block, likewise."""


class Home(Protocol):
    """The pool, as its handles see it."""

    @property
    def memory(self) -> BlockMemory | None:
        """Where the bytes are, or None for a purely logical pool."""

    @property
    def slots(self) -> Slots:
        """The slots that the handles are about."""

    @property
    def page_size(self) -> int:
        """Tokens in a full block."""

    def give_back(self, ids: Ids | list[int]) -> None:
        """Queue the end of one hold on each slot. Never waits, may be called at any time."""

    def begin(self, holder: Holder, salt: SaltHash | int | None) -> None:
        """Start to collect tokens in an owned slot."""

    def fill(self, holder: Holder, operation: Operation, blocks: Sequence[TokenBlock]) -> None:
        """Fix the content of owned slots, of all of them or none."""

    def clear_block(self, holder: Holder) -> None:
        """Throw the content of an owned slot away."""

    def set_priority(self, holder: Holder, priority: int) -> None:
        """Set the priority of held slots."""

    def stage(
        self, holder: Holder, hashes: Hashes, parent: SequenceHash | None, position: int
    ) -> None:
        """Fix the names of owned slots."""

    def holders(self, holder: Holder) -> int:
        """Count the holders of a held slot."""

    def hold_again(self, holder: Holder) -> ImmutableBlock:
        """Make one more handle on a registered slot that is held."""

    def upgrade(self, weak: WeakBlock) -> ImmutableBlock | None:
        """Find the block of a weak handle again."""
