"""All kernels of this package, with constants that stand for the rest.

What this is
    Kernels come from factories. Here is each factory with each of its widths, and the permutes of
    a common geometry (8 heads of 128 BF16 numbers, 16 tokens) and of odd ones. The
    tests compile them all, and `check_sass` reads their machine code.

Interface, as rules of use
    * FAST are those whose addresses and sizes allow accesses of 16 bytes: what runs in practice.
    * NARROW are their twins for memory that is less well aligned.
"""

from __future__ import annotations

from typing import Final

from kvbm_kernels import copying, digest, filling, fp8, permuting
from kvbm_kernels.work import Kernel

Kernels = tuple[Kernel, ...]

DTYPES: Final = ("bf16", "fp16")


def _copy(width: int, ragged: bool) -> Kernel:
    return Kernel(copying.make_copy_blocks, (width, ragged), copying.PARAMETERS)


def _permute(width: int, row: int, inner: int, token_first: bool) -> Kernel:
    return Kernel(permuting.make_permute, (width, row, inner, token_first), permuting.PARAMETERS)


def _words(alignment: int) -> Kernels:
    return (
        Kernel(filling.make_fill, (alignment, 0), filling.PARAMETERS),
        Kernel(filling.make_fill, (alignment, 1), filling.PARAMETERS),
        Kernel(filling.make_verify, (alignment,), filling.PARAMETERS),
        Kernel(digest.make_checksum_blocks, (alignment,), digest.PARAMETERS),
    )


def _fp8(dtype: str, wide: int) -> Kernels:
    return (
        Kernel(fp8.make_peak_blocks, (dtype, wide), fp8.PEAK_PARAMETERS),
        Kernel(fp8.make_quantize_fp8, (dtype, wide), fp8.PARAMETERS),
        Kernel(fp8.make_dequantize_fp8, (dtype, wide), fp8.PARAMETERS),
    )


FAST: Final[Kernels] = (
    *(_copy(16, ragged) for ragged in (False, True)),
    _permute(16, 16, 8, token_first=True),  # from NHD
    _permute(16, 16, 16, token_first=False),  # from HND, universal
    _permute(16, 9, 3, token_first=True),  # head_dim 72, 3 heads
    *_words(16),
    *(kernel for dtype in DTYPES for kernel in _fp8(dtype, 1)),
)

NARROW: Final[Kernels] = (
    *(_copy(width, ragged) for width in (8, 4, 2, 1) for ragged in (False, True)),
    *(_permute(width, 5, 3, token_first=True) for width in (8, 4, 2, 1)),
    *(kernel for alignment in (8, 1) for kernel in _words(alignment)),
    *(kernel for dtype in DTYPES for kernel in _fp8(dtype, 0)),
)
