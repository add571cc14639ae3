"""Element types: widths, names, and who knows them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from kvbm.layout import DType


@pytest.mark.parametrize(
    ("names", "width"),
    [
        ("FP8 FP8_E4M3 FP8_E5M2 U8 UINT8 I8 INT8", 1),
        ("FP16 BF16 U16 I16", 2),
        ("FP32 U32 I32", 4),
        ("U64 I64", 8),
    ],
)
def test_each_type_has_its_width(names: str, width: int) -> None:
    for name in names.split():
        dtype = DType[name]
        assert dtype.width == dtype.numpy.itemsize == dtype.bits.itemsize == width


def test_what_numpy_lacks_comes_from_ml_dtypes() -> None:
    assert DType.BF16.numpy == ml_dtypes.bfloat16
    assert DType.FP8.numpy == ml_dtypes.float8_e4m3fn
    assert DType.FP8_E5M2.numpy == ml_dtypes.float8_e5m2


def test_a_type_that_numpy_has_is_its_own_bits() -> None:
    assert DType.FP16.numpy == DType.FP16.bits == np.float16
    assert [d.bits for d in (DType.FP8, DType.BF16)] == [np.uint8, np.uint16]


def test_short_names_are_the_same_types() -> None:
    assert DType.FP8_E4M3 is DType.FP8
    assert DType.INT8 is DType.I8
    assert repr(DType.INT8) == "DType.I8"
