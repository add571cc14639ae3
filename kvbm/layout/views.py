"""Views: the bytes of a block as an array, without a copy, for as long as the block is held.

What this is
    `LayerView`   one layer of a block: one (layer, outer), or all outers of the layer
    `BlockView`   a sequence of its layers; and one array, where it lies in one piece

    A view owns nothing. It knows where the bytes are and how they are spaced, and asks
    before each access whether its block is still held.

Interface, as rules of use
    * `numpy()`, `numpy.asarray(view)`, `from_dlpack(view)` of any library, and on a GPU
      `__cuda_array_interface__`. All share the memory; none converts a number.
    * Arrays have the shape [layers, outer, tokens, inner], from the right as many axes as
      there are; in a known order `inner` is [heads, head_dim]. The shape does not depend
      on how the memory is nested, only the strides do, and they are the true ones.
    * A view of a block that is no longer held raises StaleHandleError. An array that was
      taken before stays safe to read, but shows whatever the memory is used for next.
    * `len(layer_view)` and `layer_view.size` are bytes; `len(block_view)` is layers.

Clauses: KV-INT-01, KV-OWN-05
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final, overload

import numpy as np
from numpy.typing import NDArray

from kvbm.errors import InvalidLayerIndex, NotContiguous, StaleHandleError
from kvbm.layout.axes import Label
from kvbm.layout.dlpack import CUDA, Device, export, public
from kvbm.layout.dtypes import DType
from kvbm.layout.memory import Bytes, Memory

if TYPE_CHECKING:  # a bound layout makes views, so it imports this module
    from kvbm.layout.bound import BoundLayout

Array: TypeAlias = NDArray[Any]


def always() -> bool:
    """Say that a block is held: for memory without a pool above it."""
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """Which block, where, and what its holder allows."""

    bound: BoundLayout
    block: int
    readonly: bool
    alive: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Span:
    """Evenly spaced bytes in one memory."""

    memory: Memory
    offset: int  # bytes from the first byte of the memory
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes


@dataclass(frozen=True, slots=True)
class _Claim:
    """What NumPy needs to make an array, and what must live as long as that array."""

    __array_interface__: dict[str, Any]
    keep: tuple[Any, ...]


class View:
    """What the views share: one span of memory, exported in every dialect."""

    __slots__ = ("_dtype", "_name", "_place", "_shape")

    def __init__(self, place: Place, name: str, shape: tuple[int, ...]) -> None:
        self._place = place
        self._name = name
        self._shape = shape
        self._dtype = place.bound.config.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._shape

    @property
    def dtype(self) -> DType:
        """Type of an element."""
        return self._dtype

    @property
    def readonly(self) -> bool:
        """Whether writing is refused, as for a registered block."""
        return self._place.readonly

    @property
    def size(self) -> int:
        """Bytes, without padding."""
        return int(np.prod(self._shape)) * self._dtype.width

    @property
    def strides(self) -> tuple[int, ...]:
        """Distances of neighbours along each axis, in bytes. Raises as `addr`."""
        return self._span().strides

    @property
    def addr(self) -> int:
        """Address of the first element; its offset where the memory has no address.

        Raises
        ------
        StaleHandleError
            The block is no longer held.
        NotContiguous
            The bytes are not evenly spaced in one memory.
        """
        span = self._span()
        return span.memory.addr + span.offset

    @property
    def contiguous(self) -> bool:
        """Whether the bytes are one piece of memory, in whatever order. Raises as `addr`."""
        expected = self._dtype.width
        for stride, size in sorted(zip(self.strides, self._shape, strict=True)):
            if size > 1 and stride != expected:
                return False
            expected *= size
        return True

    def numpy(self) -> Array:
        """Give the array, sharing the memory. Raises as `addr`, or if no CPU can reach it."""
        return self._bits(self._span()).view(self._dtype.numpy)

    def bytes(self) -> Bytes:
        """Give the bytes in the order of memory, uint8[size], sharing the memory.

        Raises
        ------
        NotContiguous
            They are not one piece.
        """
        if not self.contiguous:
            raise NotContiguous(f"the bytes of {self._name} are not one piece")
        outermost_first = np.argsort([-stride for stride in self.strides], kind="stable")
        return self._bits(self._span()).transpose(outermost_first).reshape(-1).view(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if copy:
            return np.array(array, dtype, copy=True)
        if copy is False and dtype is not None and np.dtype(dtype) != array.dtype:
            raise ValueError(f"{array.dtype} as {dtype} needs a copy")
        return np.asarray(array, dtype)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Device | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Export a DLPack capsule. See `kvbm.layout.dlpack` for what each consumer gets."""
        span = self._span()
        device = span.memory.device()
        return export(
            self._bits(span, by_address=device[0] == CUDA),
            self._dtype,
            device,
            stream=stream,
            max_version=max_version,
            dl_device=dl_device,
            copy=copy,
        )

    def __dlpack_device__(self) -> Device:
        """Give DLPack's (device type, device id). Pinned memory counts as host memory."""
        return public(self._span().memory.device())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3, for memory on a GPU only. BF16 and FP8 go as unsigned integers."""
        span = self._span()
        if span.memory.device()[0] != CUDA:
            raise AttributeError(f"{self._name} is not in GPU memory")
        # No stream: what fills a block says itself when the bytes are there.
        interface = self._interface(span.memory.addr + span.offset, span, self.readonly)
        return interface | {"stream": None}

    def __repr__(self) -> str:
        return f"<{self._name}: {self._dtype.name}{list(self._shape)}>"

    def _check_alive(self) -> None:
        if not self._place.alive():
            raise StaleHandleError(f"the block under the view {self!r}")

    def _span(self) -> Span:
        raise NotImplementedError

    def _region(self, layer: int, outer: int) -> Span:
        """Find one region. Raises StaleHandleError."""
        self._check_alive()
        bound, layout = self._place.bound, self._place.bound.layout
        storage, offset = layout.offset(self._place.block, layer, outer)
        start = bound.base_offsets[storage] + offset
        shape, strides = layout.region_shape(layer), layout.region_strides(layer)
        return Span(bound.memories[storage], start, shape, strides)

    def _bits(self, span: Span, *, by_address: bool = False) -> Array:
        """Make the array, in the native type of NumPy that holds the same bits.

        `by_address` is for arrays that are only passed on: their bytes may be on a GPU.
        """
        keep: Any = span.memory if by_address else span.memory.array()
        address, locked = (keep.addr, False) if by_address else keep.__array_interface__["data"]
        interface = self._interface(address + span.offset, span, self.readonly or locked)
        # The array keeps the memory, and through `alive` the block that it shows.
        return np.asarray(_Claim(interface, (keep, self._place)))

    def _interface(self, address: int, span: Span, readonly: bool) -> dict[str, Any]:
        return {
            "version": 3,
            "data": (address, readonly),
            "typestr": self._dtype.bits.str,
            "shape": span.shape,
            "strides": span.strides,
        }


@final
class LayerView(View):
    """One layer of a block; `outer` None means all of them, as first axis."""

    __slots__ = ("layer", "outer")

    def __init__(self, place: Place, layer: int, outer: int | None) -> None:
        layout = place.bound.layout
        outers = () if outer is not None else (layout.config.outer_dim,)
        part = "" if outer is None else f", outer {outer}"
        name = f"block {place.block}, layer {layer}{part}"
        super().__init__(place, name, outers + layout.region_shape(layer))
        self.layer = layer
        self.outer = outer

    def __len__(self) -> int:
        """Count the bytes, as the documented API says."""
        return self.size

    def _span(self) -> Span:
        first = self._region(self.layer, self.outer or 0)
        if self.outer is not None:
            return first
        last = self._region(self.layer, self._place.bound.config.outer_dim - 1)
        if last.memory is not first.memory:
            raise NotContiguous(f"the outers of {self._name} are in several memories")
        # There are at most two outers, so that they are always evenly spaced.
        step = last.offset - first.offset
        return Span(first.memory, first.offset, self._shape, (step, *first.strides))


@final
class BlockView(View, Sequence[LayerView]):
    """A block as a sequence of its layers, and, where it is one piece, as one array."""

    __slots__ = ()

    def __init__(self, place: Place) -> None:
        config, layout = place.bound.config, place.bound.layout
        shape = (config.num_layers, config.outer_dim, *layout.region_shape())
        super().__init__(place, f"block {place.block}", shape)

    def __len__(self) -> int:
        """Count the layers."""
        return self._place.bound.config.num_layers

    @property
    def size(self) -> int:
        """Bytes, without padding."""
        return self._place.bound.layout.bytes_per_block

    @overload
    def __getitem__(self, index: int) -> LayerView: ...
    @overload
    def __getitem__(self, index: slice) -> list[LayerView]: ...
    def __getitem__(self, index: int | slice) -> LayerView | list[LayerView]:
        """Give a layer, or several. A negative index counts from the last one."""
        self._check_alive()
        if isinstance(index, slice):
            return [LayerView(self._place, i, None) for i in range(len(self))[index]]
        try:
            return LayerView(self._place, range(len(self))[index], None)
        except IndexError:
            raise InvalidLayerIndex(index, len(self)) from None

    def __iter__(self) -> Iterator[LayerView]:
        return iter(self[:])

    def to_list(self) -> list[LayerView]:
        """Give all layers."""
        return self[:]

    def layer_view(self, layer: int, outer: int = 0) -> LayerView:
        """View one (layer, outer). Raises InvalidLayerIndex, InvalidOuterIndex."""
        self._check_alive()
        self._place.bound.layout.check_index(self._place.block, layer, outer)
        return LayerView(self._place, layer, outer)

    def _span(self) -> Span:
        layout, first = self._place.bound.layout, self._region(0, 0)
        if layout.num_storages > 1 or not layout.has_axes:
            raise NotContiguous(f"Block is not fully contiguous: {self._name}; use its layers")
        step = {axis.label: axis.stride for axis in layout.axes()}
        strides = (step[Label.LAYER], step[Label.OUTER], *first.strides)
        return Span(first.memory, first.offset, self._shape, strides)
