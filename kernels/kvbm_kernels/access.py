"""Loads and stores at addresses: plain Python is the meaning, the code is one instruction.

What this is
    A kernel of this package gets addresses and moves what lies there, 16, 8, 4, 2 or 1
    bytes at a time. Numba knows no access of 16 bytes and no access at an address, so
    they are here. 16 bytes are a pair of 64-bit words.

Interface, as rules of use
    * An address is a multiple of the width; the host checks it, before the launch. A GPU stops
      the process for one that is not; so does the plain Python here, with an `AssertionError`.
    * Write several loads before the first store, so that they are under way together. The
      compiler keeps that order, because a store might change what a later load reads. To
      promise that it does not (`ld.global.nc`) would let it mix them again.
    * `LOADS[width]` and `STORES[width]` choose the functions for a factory of kernels.
    * The atomic functions may be called by all threads at once, with any address of their own
      kind of number; what they write is read by a later kernel.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kvbm_kernels.device import Lowering, instruction

Pair = tuple[np.uint64, np.uint64]

_C_TYPES: Final[dict[int, Any]] = {
    16: ctypes.c_uint64 * 2, 8: ctypes.c_uint64, 4: ctypes.c_uint32, 2: ctypes.c_uint16,
    1: ctypes.c_uint8,
}  # fmt: skip
_ONE_AT_A_TIME: Final = threading.Lock()
"""The threads of the simulator are threads of Python."""


def _at(width: int, address: int) -> Any:
    if address % width:
        raise AssertionError(f"an access of {width} bytes at {int(address):#x}")
    return _C_TYPES[width].from_address(int(address))


# ── how each is written in LLVM's language ────────────────────────────────────────────────


def _global(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer(1))  # address space 1: global memory


def _load(width: int) -> Lowering:
    def lower(builder: Any, args: list[Any]) -> Any:
        from llvmlite import ir  # noqa: PLC0415
        from numba.cuda import cgutils  # noqa: PLC0415

        word = ir.IntType(8 * min(width, 8))
        value = builder.load(
            _global(builder, args[0], ir.VectorType(word, 2) if width == 16 else word)
        )
        value.align = width
        if width < 16:
            return value
        lanes = [builder.extract_element(value, ir.Constant(ir.IntType(32), k)) for k in (0, 1)]
        return cgutils.pack_array(builder, lanes)

    return lower


def _store(width: int) -> Lowering:
    def lower(builder: Any, args: list[Any]) -> None:
        from llvmlite import ir  # noqa: PLC0415

        address, value = args
        word = ir.IntType(8 * min(width, 8))
        kind = word
        if width == 16:
            kind, pair = ir.VectorType(word, 2), value
            value = ir.Constant(kind, ir.Undefined)
            for k in (0, 1):
                lane = ir.Constant(ir.IntType(32), k)
                value = builder.insert_element(value, builder.extract_value(pair, k), lane)
        builder.store(value, _global(builder, address, kind)).align = width

    return lower


def _atomic(operation: str) -> Lowering:
    def lower(builder: Any, args: list[Any]) -> None:
        address, value = args
        builder.atomic_rmw(operation, _global(builder, address, value.type), value, "monotonic")

    return lower


# ── loads and stores ──────────────────────────────────────────────────────────────────────


@instruction("uint64x2", "uint64", lower=_load(16))
def load16(address: Any) -> Pair:
    """Two 64-bit words."""
    words = _at(16, address)
    return np.uint64(words[0]), np.uint64(words[1])


@instruction("uint64", "uint64", lower=_load(8))
def load8(address: Any) -> np.uint64:
    """One 64-bit word."""
    return np.uint64(_at(8, address).value)


@instruction("uint32", "uint64", lower=_load(4))
def load4(address: Any) -> np.uint32:
    """Four bytes."""
    return np.uint32(_at(4, address).value)


@instruction("uint16", "uint64", lower=_load(2))
def load2(address: Any) -> np.uint16:
    """Two bytes."""
    return np.uint16(_at(2, address).value)


@instruction("uint8", "uint64", lower=_load(1))
def load1(address: Any) -> np.uint8:
    """One byte."""
    return np.uint8(_at(1, address).value)


@instruction("void", "uint64", "uint64x2", lower=_store(16))
def store16(address: Any, pair: Pair) -> None:
    """Two 64-bit words."""
    words = _at(16, address)
    words[0], words[1] = int(pair[0]), int(pair[1])


@instruction("void", "uint64", "uint64", lower=_store(8))
def store8(address: Any, value: Any) -> None:
    """One 64-bit word."""
    _at(8, address).value = int(value)


@instruction("void", "uint64", "uint32", lower=_store(4))
def store4(address: Any, value: Any) -> None:
    """Four bytes."""
    _at(4, address).value = int(value)


@instruction("void", "uint64", "uint16", lower=_store(2))
def store2(address: Any, value: Any) -> None:
    """Two bytes."""
    _at(2, address).value = int(value)


@instruction("void", "uint64", "uint8", lower=_store(1))
def store1(address: Any, value: Any) -> None:
    """One byte: the lowest of the value."""
    _at(1, address).value = int(value)


LOADS: Final[dict[int, Callable[[Any], Any]]] = {
    16: load16, 8: load8, 4: load4, 2: load2, 1: load1,
}  # fmt: skip
"""By width in bytes."""

STORES: Final[dict[int, Callable[[Any, Any], None]]] = {
    16: store16, 8: store8, 4: store4, 2: store2, 1: store1,
}  # fmt: skip
"""By width in bytes."""


# ── atomic updates ────────────────────────────────────────────────────────────────────────


@instruction("void", "uint64", "uint64", lower=_atomic("add"))
def add8(address: Any, value: Any) -> None:
    """Add to a 64-bit word, modulo 2**64."""
    with _ONE_AT_A_TIME:
        _at(8, address).value = (_at(8, address).value + int(value)) % 2**64


@instruction("void", "uint64", "uint64", lower=_atomic("umin"))
def min8(address: Any, value: Any) -> None:
    """Keep the smaller of a 64-bit word and a value."""
    with _ONE_AT_A_TIME:
        _at(8, address).value = min(_at(8, address).value, int(value))


@instruction("void", "uint64", "uint32", lower=_atomic("umax"))
def max4(address: Any, value: Any) -> None:
    """Keep the larger of a 32-bit word and a value."""
    with _ONE_AT_A_TIME:
        _at(4, address).value = max(_at(4, address).value, int(value))
