"""Ragged layers and a user's own arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kvbm.errors import AxesNotAvailable, InvalidConfig
from kvbm.layout import BlockOrder, CustomLayout, DType, LayoutConfig, LayoutType, Ragged

CONFIG = LayoutConfig(4, 3, 1, 4, 8)
SIZES = [64, 24, 8]


class Placed:
    """A strategy that is one function."""

    name = "placed"

    def __init__(self, place: Callable[[int, int, int], tuple[int, int]], *sizes: Any) -> None:
        self.place = place
        self.sizes = sizes

    def storage_bytes(self, config: LayoutConfig) -> tuple[Any, ...]:
        del config
        return self.sizes

    def offset(self, config: LayoutConfig, block: int, layer: int, outer: int) -> tuple[int, int]:
        del config
        return self.place(block, layer, outer)


def test_each_ragged_layer_has_its_own_size() -> None:
    layout = Ragged(CONFIG, SIZES)
    assert layout.data_bytes == layout.required_sizes() == (256, 96, 32)
    assert layout.bytes_per_block == 96
    assert [layout.offset(3, layer, 0) for layer in range(3)] == [(0, 192), (1, 72), (2, 24)]
    assert [layout.region_shape(layer) for layer in range(3)] == [(4, 8), (4, 3), (4, 1)]
    assert layout.region_strides(1) == (6, 2)
    assert layout.kind is LayoutType.Ragged
    with pytest.raises(AxesNotAvailable, match="a Ragged layout has no labelled axes"):
        layout.axes()


@pytest.mark.parametrize(
    ("changes", "sizes", "field"),
    [
        ({}, [64, 0, 8], "layer_bytes[1]"),
        ({}, [64, -8, 8], "layer_bytes[1]"),
        ({}, [64, 12, 8], "layer_bytes[1]"),
        ({}, [64, 8, True], "layer_bytes[2]"),
        ({}, [64, 8], "layer_bytes"),
        ({}, [32, 8, 8], "inner_dim"),
        ({"outer_dim": 2}, SIZES, "outer_dim"),
        ({"alignment": 2}, SIZES, "alignment"),
        ({"num_heads": 1, "order": BlockOrder.NHD}, SIZES, "order"),
        ({"num_blocks": 2**60}, SIZES, "bytes of storage 0"),
    ],
)
def test_ragged_layers_that_cannot_be_are_refused(
    changes: dict[str, Any], sizes: list[int], field: str
) -> None:
    config = replace(CONFIG, **changes)
    with pytest.raises(InvalidConfig) as caught:
        Ragged(config, sizes)
    assert caught.value.field == field


def test_a_custom_layout_puts_regions_where_the_strategy_says() -> None:
    config = LayoutConfig(2, 2, 2, 4, 8)

    def backwards(block: int, layer: int, outer: int) -> tuple[int, int]:
        return outer, 192 - (block * 2 + layer) * 64

    layout = CustomLayout(config, Placed(backwards, 256, 256))
    assert layout.offset(1, 0, 1) == (1, 64)
    assert layout.data_bytes == (256, 256)
    assert layout.kind is LayoutType.Custom
    assert not layout.has_axes


@pytest.mark.clause("KV-INT-01")
@pytest.mark.parametrize(
    ("place", "sizes", "message"),
    [
        (lambda b, _n, o: (0, (b * 2 + o) * 64), [256], r"strategy = 'placed': regions .* overlap"),
        (lambda b, n, o: (0, (b * 4 + n * 2 + o) * 62), [999], "regions .* overlap"),
        (lambda b, n, o: (0, (b * 4 + n * 2 + o) * 64), [511], r"offset of \(1, 1, 1\) = 448"),
        (lambda b, n, o: (0, (b * 4 + n * 2 + o) * 64 - 64), [512], r"offset of \(0, 0, 0\) = -64"),
        (lambda b, n, o: (0, (b * 4 + n * 2 + o) * 65), [999], "multiple of an element's 2 bytes"),
        (lambda b, n, o: (b, (n * 2 + o) * 64), [256], r"storage of \(1, 0, 0\) = 1: there are 1"),
        (lambda b, _n, _o: (b - 1, 0), [256], r"storage of \(0, 0, 0\) = -1"),
        (lambda _b, _n, _o: (0, 0), [0], "storage_bytes = 0"),
        (lambda _b, _n, _o: (0, 0), [1.5], "storage_bytes = 1.5"),
    ],
)
def test_a_strategy_that_overlaps_or_leaves_its_storage_is_refused(
    place: Callable[[int, int, int], tuple[int, int]], sizes: list[Any], message: str
) -> None:
    with pytest.raises(InvalidConfig, match=message):
        CustomLayout(LayoutConfig(2, 2, 2, 4, 8), Placed(place, *sizes))


def test_the_two_regions_that_overlap_are_named() -> None:
    def place(block: int, layer: int, _: int) -> tuple[int, int]:
        return 0, 64 * (block * 2 + layer) if (block, layer) != (1, 1) else 32

    with pytest.raises(InvalidConfig, match=r"regions \[\(0, 0, 0\), \(1, 1, 0\)\] overlap"):
        CustomLayout(LayoutConfig(2, 2, 1, 4, 8), Placed(place, 256))


@pytest.mark.clause("KV-INT-05")
def test_strategies_of_one_name_that_differ_are_told_apart() -> None:
    config = LayoutConfig(2, 1, 1, 4, 8)
    up, up_too, down = (
        CustomLayout(config, Placed(lambda b, _n, _o, way=way: (0, abs(way - b) * 64), 128))
        for way in (0, 0, 1)
    )
    assert up == up_too
    assert up != down


def test_a_custom_layout_has_no_known_order() -> None:
    config = LayoutConfig(1, 1, 1, 4, 8, DType.FP32, num_heads=2, order=BlockOrder.NHD)
    with pytest.raises(InvalidConfig, match="order = BlockOrder"):
        CustomLayout(config, Placed(lambda *_: (0, 0), 128))


@pytest.mark.parametrize("missing", ["name", "storage_bytes", "offset"])
def test_an_object_that_is_no_strategy_is_refused(missing: str) -> None:
    members = {"name": "x", "storage_bytes": lambda _: [64], "offset": lambda *_: (0, 0)}
    given = type("Given", (), {name: value for name, value in members.items() if name != missing})
    with pytest.raises(InvalidConfig, match=f"strategy = .*: has no {missing}"):
        CustomLayout(LayoutConfig(1, 1, 1, 4, 8), given())
