"""The numbers of a layout: what is possible, and the error for what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvbm.errors import ErrorKind, InvalidConfig
from kvbm.layout import BlockOrder, DType, FullyContiguous, LayoutConfig

GOOD: dict[str, Any] = {
    "num_blocks": 3, "num_layers": 2, "outer_dim": 2, "page_size": 4, "inner_dim": 8
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("num_blocks", [0, -1, 2**63, 1.0, True, None, "3"]),
        ("num_layers", [0, -1, True]),
        ("outer_dim", [0, 3, -1, True, 1.5]),
        ("page_size", [0, -1]),
        ("inner_dim", [0, -1]),
        ("alignment", [0, 3, 6, -1, 513, None]),
        ("num_heads", [0, -1, 3, 16, True]),
        ("dtype", [2, "FP16", None, np.float16]),
        ("order", ["NHD", None]),
    ],
)
def test_an_impossible_value_is_refused_by_name(field: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(InvalidConfig) as caught:
            LayoutConfig(**GOOD | {field: value})
        assert (caught.value.field, caught.value.value) == (field, value)
        assert caught.value.kind is ErrorKind.INVALID
        assert str(caught.value).startswith(f"{field} = {value!r}: must ")


def test_a_known_order_needs_heads() -> None:
    with pytest.raises(InvalidConfig, match="num_heads = None: the order NHD needs it"):
        LayoutConfig(**GOOD, order=BlockOrder.NHD)


def test_two_bytes_an_element_and_no_alignment_are_the_default() -> None:
    config = LayoutConfig(**GOOD)
    assert (config.dtype, config.alignment, config.order) == (DType.FP16, 1, BlockOrder.UNKNOWN)
    assert (config.region_bytes, config.bytes_per_block) == (64, 256)


def test_odd_page_sizes_are_fine_and_numpy_integers_become_ints() -> None:
    config = LayoutConfig(**GOOD | {"page_size": np.int32(5)})
    assert config.region_bytes == 80
    assert type(config.page_size) is int


def test_the_size_of_a_block_of_an_8b_model() -> None:
    assert LayoutConfig(1000, 32, 2, 16, 4096).bytes_per_block == 8_388_608


def test_what_does_not_fit_63_bits_is_refused() -> None:
    config = LayoutConfig(2**40, 2**20, 2, 16, 4096)
    with pytest.raises(InvalidConfig, match=r"bytes of storage 0 = \d+: must fit 63 bits"):
        FullyContiguous(config)


def test_heads_share_the_inner_dimension() -> None:
    assert LayoutConfig(**GOOD, num_heads=4).head_dim == 2
    assert LayoutConfig(**GOOD).head_dim is None
    assert LayoutConfig(**GOOD, num_heads=4).token_shape == (8,)
    assert LayoutConfig(**GOOD, num_heads=4, order=BlockOrder.HND).token_shape == (4, 2)


def test_the_first_field_that_differs_is_named() -> None:
    one = LayoutConfig(**GOOD)
    assert one.first_difference(one) is None
    other = LayoutConfig(**GOOD | {"num_blocks": 9, "dtype": DType.BF16})
    assert one.first_difference(other) == "num_blocks"
    assert one.first_difference(other, "num_blocks") == "dtype"
