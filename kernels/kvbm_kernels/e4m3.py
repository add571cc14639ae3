"""FP8 numbers (E4M3): from and to BF16 and FP16, bit by bit, the same on every machine.

What this is
    E4M3 has a sign, 4 bits of exponent and 3 of mantissa: 0, ±2**-9 … ±448, and NaN, but no
    infinity. A block is stored as E4M3 numbers times one scale. Scales are powers of two, so
    that multiplying by them changes no digit: all rounding is E4M3's own, once, to
    the nearest, ties to even.

        peak       the largest finite magnitude of the block, as float32
        scale      the smallest power of two with peak / scale <= 448; 1 for peak 0
        stored     E4M3(x / scale)          back: stored * scale

Rules
    * |back - x| <= max(|x| / 16, scale / 1024) for finite x. That is exact arithmetic, no
      estimate.
    * NaN stays NaN (its payload is lost). Infinity becomes the largest finite number of its sign,
      448 * scale, since E4M3 has no infinity.
    * What rounds above the type's own largest number on the way back becomes that number.
    * The sign of zero is kept.

Interface, as rules of use
    * `scale_of` is the host's; the rest are device functions, written over 4 numbers, which
      are one word of BF16 or FP16. `dtype` is "bf16" or "fp16".
    * Numbers too small for a scale of 2**-126 are rounded with that scale.

Sources: Micikevicius et al., "FP8 formats for deep learning", 2022; the twin in the tests
is ml_dtypes' `float8_e4m3fn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvbm_kernels.device import Lowering, device_function, instruction

LARGEST: Final = 448.0
"""The largest E4M3 number."""


def scale_of(peaks: ArrayLike) -> NDArray[np.float32]:
    """Give the scale of each block from its peak. O(blocks).

    Examples
    --------
    >>> scale_of([0.0, 448.0, 449.0, 1.0]).tolist()
    [1.0, 1.0, 2.0, 0.00390625]
    """
    bits = np.asarray(peaks, np.float32).view(np.uint32).astype(np.int64)
    exponents = np.maximum((bits >> 23) - np.where(bits & 0x7FFFFF <= 0x600000, 8, 7), 1)
    return np.where(bits == 0, 0x3F800000, exponents << 23).astype(np.uint32).view(np.float32)


# ── bits and numbers ──────────────────────────────────────────────────────────────────────


def _bitcast(name: str) -> Lowering:
    def lower(builder: Any, args: list[Any]) -> Any:
        from llvmlite import ir  # noqa: PLC0415

        kinds = {"float": ir.FloatType(), "half": ir.HalfType(), "i32": ir.IntType(32)}
        value = builder.bitcast(args[0], kinds[name])
        return builder.fpext(value, ir.FloatType()) if name == "half" else value

    return lower


def _to_half(builder: Any, args: list[Any]) -> Any:
    from llvmlite import ir  # noqa: PLC0415

    return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))


@instruction("float32", "uint32", lower=_bitcast("float"))
def number(bits: Any) -> np.float32:
    """Read 32 bits as a float32."""
    return np.uint32(bits).view(np.float32)


@instruction("uint32", "float32", lower=_bitcast("i32"))
def bits_of(value: Any) -> np.uint32:
    """Give the 32 bits of a float32."""
    return np.float32(value).view(np.uint32)


@instruction("float32", "uint16", lower=_bitcast("half"))
def number_of_fp16(bits: Any) -> np.float32:
    """Read 16 bits as FP16."""
    return np.float32(np.uint16(bits).view(np.float16))


@instruction("uint16", "float32", lower=_to_half)
def fp16_of(value: Any) -> np.uint16:
    """Round a float32 to FP16; give its bits."""
    return np.float16(value).view(np.uint16)


@device_function("float32", "uint16")
def number_of_bf16(bits: Any) -> Any:
    """Read 16 bits as BF16: the upper half of a float32."""
    return number(np.uint32(np.uint32(bits) << np.uint32(16)))


@device_function("uint16", "float32")
def bf16_of(value: Any) -> Any:
    """Round a finite float32 to BF16; give its bits."""
    bits = bits_of(value)
    odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(np.uint32(bits + np.uint32(odd + np.uint32(0x7FFF))) >> np.uint32(16))


# ── one number ────────────────────────────────────────────────────────────────────────────


@device_function("float32", "uint32")
def device_scale(peak: Any) -> Any:
    """`scale_of`, in a kernel, from the bits of the peak."""
    if peak == np.uint32(0):
        return np.float32(1)
    exponent = np.uint32(peak >> np.uint32(23))
    less = np.uint32(7)
    if np.uint32(peak & np.uint32(0x7FFFFF)) <= np.uint32(0x600000):  # 448 is 1.75 * 2**8
        less = np.uint32(8)
    if exponent <= less:
        return number(np.uint32(1 << 23))
    return number(np.uint32(np.uint32(exponent - less) << np.uint32(23)))


@device_function("uint32", "float32")
def code_of(value: Any) -> Any:
    """Round a float32 to E4M3; give its 8 bits."""
    bits = bits_of(value)
    sign = np.uint32(np.uint32(bits >> np.uint32(24)) & np.uint32(0x80))
    bits = np.uint32(bits & np.uint32(0x7FFFFFFF))
    if bits > np.uint32(0x7F800000):  # NaN
        return np.uint32(sign | np.uint32(0x7F))
    if bits < np.uint32(0x3C800000):  # below 2**-6: multiples of 2**-9, which this sum rounds to
        code = np.uint32(
            bits_of(np.float32(number(bits) + np.float32(16384.0))) - np.uint32(0x46800000)
        )
    else:
        odd = np.uint32(np.uint32(bits >> np.uint32(20)) & np.uint32(1))
        bits = np.uint32(bits + np.uint32(odd + np.uint32(0x7FFFF)))
        code = np.uint32(np.uint32(bits >> np.uint32(20)) - np.uint32(120 << 3))
    return np.uint32(sign | min(code, np.uint32(0x7E)))


@device_function("float32", "uint32")
def number_of(code: Any) -> Any:
    """Read 8 bits as E4M3."""
    magnitude = np.uint32(code & np.uint32(0x7F))
    value = np.float32(number(np.uint32(magnitude << np.uint32(20))) * np.float32(2.0**120))
    if magnitude == np.uint32(0x7F):
        value = number(np.uint32(0x7FC00000))
    sign = np.uint32(np.uint32(code & np.uint32(0x80)) << np.uint32(24))
    return number(np.uint32(bits_of(value) | sign))


# ── four numbers ──────────────────────────────────────────────────────────────────────────


def _packing(
    read: Callable[[Any], Any], write: Callable[[Any], Any], infinity: int, largest: int
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Write the three functions for a type of 16 bits."""
    limit, most = np.uint16(infinity), np.uint16(largest)
    quiet = np.uint16(infinity | (infinity >> 1))  # NaN: one more bit than infinity, or all

    @device_function("uint32", "uint64", "float32")
    def codes(word: Any, inverse: Any) -> Any:
        found = np.uint32(0)
        for n in range(4):
            bits = np.uint16(np.uint64(word >> np.uint64(16 * n)) & np.uint64(0xFFFF))
            code = code_of(np.float32(read(bits) * inverse))
            found = np.uint32(found | np.uint32(code << np.uint32(8 * n)))
        return found

    @device_function("uint16", "uint32", "float32")
    def back(code: Any, scale: Any) -> Any:
        value = number_of(code)
        sign = np.uint16(np.uint32(np.uint32(code & np.uint32(0x80)) << np.uint32(8)))
        if np.uint32(code & np.uint32(0x7F)) == np.uint32(0x7F):
            return np.uint16(sign | quiet)
        magnitude = np.uint16(write(np.float32(abs(value) * scale)))
        return np.uint16(sign | min(magnitude, most))

    @device_function("uint64", "uint32", "float32")
    def numbers(codes: Any, scale: Any) -> Any:
        found = np.uint64(0)
        for n in range(4):
            code = np.uint32(np.uint32(codes >> np.uint32(8 * n)) & np.uint32(0xFF))
            found = np.uint64(found | np.uint64(np.uint64(back(code, scale)) << np.uint64(16 * n)))
        return found

    @device_function("uint32", "uint64")
    def peak(word: Any) -> Any:
        largest_bits = np.uint16(0)
        for n in range(4):
            bits = np.uint16(np.uint64(word >> np.uint64(16 * n)) & np.uint64(0x7FFF))
            if bits < limit:
                largest_bits = max(largest_bits, bits)
        return bits_of(read(largest_bits))

    return codes, numbers, peak


CODES, NUMBERS, PEAKS = (
    dict(zip(("bf16", "fp16"), pair, strict=True))
    for pair in zip(
        _packing(number_of_bf16, bf16_of, 0x7F80, 0x7F7F),
        _packing(number_of_fp16, fp16_of, 0x7C00, 0x7BFF),
        strict=True,
    )
)
"""By type: 4 numbers and 1 / scale to 4 codes; the inverse with the scale; the peak of 4."""
