"""Blocks as the Python page shows them: sequences of layers, in a list that goes back whole.

What this is
    `Blocks` ─► `Block` ─► `Layer`: thin views of a `BlockList`, its handles, and the bytes
    beneath. Each holds what it is a view of (`handles`, `handle`), where all other
    operations are.

Interface, as rules of use
    * Blocks go back at the end of `with`, by release(), or when the last reference goes:
      to the list or, if it was taken out, to the block, a layer or an array of it.
    * Arrays and DLPack share the memory and have its true strides. A block that is not one
      piece has no array; its layers have.
    * What is registered is read-only.

Clauses: KV-OWN-05, KV-LIF-06, KV-INT-01
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, final, overload

from kvbm.blocks import BlockList, CompleteBlock, ImmutableBlock, MutableBlock, SequenceHash
from kvbm.identity import TokenBlock
from kvbm.layout import BlockView, DType, LayerView

Handle: TypeAlias = MutableBlock | CompleteBlock | ImmutableBlock
Layer: TypeAlias = LayerView
"""One layer of a block, all outers: `shape`, `dtype`, `numpy()` and DLPack."""


@final
class Blocks(Sequence["Block"]):
    """What a pool gave: a sequence of blocks that goes back as a whole.

    `handles` is the list beneath, as the rest of the house knows it.
    """

    def __init__(self, handles: BlockList[Any]) -> None:
        self.handles = handles

    @property
    def block_ids(self) -> list[int]:
        """Slot numbers, in order."""
        return self.handles.block_ids

    def sequence_hashes(self) -> list[SequenceHash]:
        """Name each block. Raises BlockNotComplete unless all have content."""
        return self.handles.sequence_hashes()

    def apply_token_blocks(self, token_blocks: Sequence[TokenBlock]) -> None:
        """Say which tokens the blocks are of, one token block each."""
        self.handles.apply_token_blocks(token_blocks)

    def stage(
        self,
        sequence_hashes: Sequence[SequenceHash],
        *,
        parent: SequenceHash | None = None,
        position: int = 0,
    ) -> None:
        """Name the blocks by hashes of your own, each the parent of the next."""
        self.handles.stage(sequence_hashes, parent=parent, position=position)

    def release(self) -> None:
        """Give all blocks back. Raises StaleHandleError the second time."""
        self.handles.release()

    def to_list(self) -> list[Block]:
        """Give all blocks."""
        return list(self)

    def __len__(self) -> int:
        return len(self.handles)

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> list[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | list[Block]:
        """Give a block, or several. It may outlive the list."""
        if isinstance(index, slice):
            return [Block(handle) for handle in self.handles[index]]
        return Block(self.handles[index])

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    def __enter__(self) -> Self:
        self.handles.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.handles.close()

    def __repr__(self) -> str:
        return f"Blocks({self.handles!r})"


@final
class Block(Sequence[LayerView]):
    """A block as a sequence of its layers, and as one array where it lies in one piece.

    `handle` is what the rest of the house calls a block.
    """

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self._view: BlockView = handle.block_view()

    @property
    def block_id(self) -> int:
        """Number of the slot."""
        return self.handle.block_id

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: [layers, outer, tokens, inner]."""
        return self._view.shape

    @property
    def dtype(self) -> DType:
        """Type of an element."""
        return self._view.dtype

    def sequence_hash(self) -> SequenceHash:
        """Name the block and all before it. Raises BlockStateInvalid if it has no content."""
        return self.handle.sequence_hash()

    def layer_view(self, layer: int, outer: int = 0) -> LayerView:
        """View one layer and outer: key or value."""
        return self._view.layer_view(layer, outer)

    def numpy(self) -> Any:
        """Give the block as one NumPy array that shares the memory.

        Raises
        ------
        StaleHandleError
            The block was given back, or registered: use what the registration returned.
        NotContiguous
            The layers lie in several memories.
        """
        return self._view.numpy()

    def release(self) -> None:
        """Give the block back. Raises StaleHandleError the second time."""
        self.handle.release()

    def to_list(self) -> list[LayerView]:
        """Give all layers."""
        return self._view.to_list()

    def __len__(self) -> int:
        """Count the layers."""
        return len(self._view)

    @overload
    def __getitem__(self, index: int) -> LayerView: ...
    @overload
    def __getitem__(self, index: slice) -> list[LayerView]: ...
    def __getitem__(self, index: int | slice) -> LayerView | list[LayerView]:
        """Give a layer, or several: [outer, tokens, inner] each."""
        return self._view[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._view.__array__(dtype, copy)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Export the block as one tensor, as a DLPack capsule. Raises as `numpy`."""
        return self._view.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Give DLPack's (device type, device id): the CPU's on an emulated device."""
        return self._view.__dlpack_device__()

    def __repr__(self) -> str:
        return f"Block({self.handle!r})"
