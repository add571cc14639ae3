"""Element types: how wide one number of the cache is, and who calls it what.

What this is
    The types that a KV cache is stored in. NumPy has no BF16 and no FP8; `ml_dtypes`
    adds them, and is imported when somebody asks for such an array and not before.

Interface, as rules of use
    * `DType.FP16.width` is in bytes, and is all that address arithmetic needs.
    * `DType.BF16.numpy` is the NumPy dtype. The bytes are never converted.
    * `FP8` is E4M3 without infinities, as engines store it; `FP8_E5M2` is the other one.
"""

from __future__ import annotations

import importlib
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

NumpyType: TypeAlias = "np.dtype[Any]"


class DType(Enum):
    """Type of one element. The value is (NumPy or ml_dtypes name, bytes, DLPack code).

    Examples
    --------
    >>> DType.BF16.width, DType.BF16.numpy
    (2, dtype(bfloat16))
    >>> DType.INT8 is DType.I8
    True
    """

    FP8 = ("float8_e4m3fn", 1, 10)
    FP8_E5M2 = ("float8_e5m2", 1, 12)
    FP16 = ("float16", 2, 2)
    BF16 = ("bfloat16", 2, 4)
    FP32 = ("float32", 4, 2)
    U8 = ("uint8", 1, 1)
    U16 = ("uint16", 2, 1)
    U32 = ("uint32", 4, 1)
    U64 = ("uint64", 8, 1)
    I8 = ("int8", 1, 0)
    I16 = ("int16", 2, 0)
    I32 = ("int32", 4, 0)
    I64 = ("int64", 8, 0)

    # Other names of the same types.
    FP8_E4M3 = FP8
    INT8 = I8
    UINT8 = U8

    @property
    def width(self) -> int:
        """Bytes of one element: 1, 2, 4 or 8."""
        return self.value[1]

    @property
    def in_numpy(self) -> bool:
        """Whether NumPy has the type without `ml_dtypes`."""
        return self not in (DType.FP8, DType.FP8_E5M2, DType.BF16)

    @property
    def numpy(self) -> NumpyType:
        """The NumPy dtype. Needs `ml_dtypes` for BF16 and FP8."""
        name = self.value[0]
        return np.dtype(name if self.in_numpy else getattr(_ml_dtypes(), name))

    @property
    def bits(self) -> NumpyType:
        """The NumPy dtype that holds the same bits and that everybody knows."""
        return self.numpy if self.in_numpy else np.dtype(f"uint{8 * self.width}")

    @property
    def dlpack_code(self) -> int:
        """DLPack's number for this kind of type, such as 2 for IEEE floats."""
        return self.value[2]

    def __repr__(self) -> str:
        return f"DType.{self.name}"


def _ml_dtypes() -> Any:
    return importlib.import_module("ml_dtypes")
