"""Orders of a block: names, labels, and the strides of the four known ones."""

from __future__ import annotations

import itertools

import pytest

from kvbm.errors import InvalidConfig
from kvbm.layout import Axis, BlockOrder, FullyContiguous, Label, LayoutConfig

BLOCK, LAYER, OUTER, PAGE, HEAD, DIM = (
    Label.BLOCK, Label.LAYER, Label.OUTER, Label.PAGE, Label.HEAD, Label.HEAD_DIM,
)  # fmt: skip


def strides(order: BlockOrder) -> dict[Label, int]:
    config = LayoutConfig(4, 3, 2, 4, 16, num_heads=2, order=order)
    return {axis.label: axis.stride for axis in FullyContiguous(config).axes()}


@pytest.mark.parametrize(
    ("order", "place"),
    [(BlockOrder.NHD, 1114), (BlockOrder.HND, 1130), (BlockOrder.UNIVERSAL, 1322)],
)
def test_the_worked_coordinate(order: BlockOrder, place: int) -> None:
    step = strides(order)
    assert step[BLOCK] == 768
    coordinate = {BLOCK: 1, LAYER: 1, OUTER: 0, PAGE: 2, HEAD: 1, DIM: 5}
    assert sum(step[label] * index for label, index in coordinate.items()) == place


@pytest.mark.parametrize(
    ("order", "steps"),
    [
        (BlockOrder.NHD, {DIM: 2, HEAD: 16, PAGE: 32, OUTER: 128, LAYER: 256}),
        (BlockOrder.HND, {DIM: 2, PAGE: 16, HEAD: 64, OUTER: 128, LAYER: 256}),
        (BlockOrder.UNIVERSAL, {DIM: 2, PAGE: 16, OUTER: 64, LAYER: 128, HEAD: 384}),
    ],
)
def test_the_strides_of_each_order(order: BlockOrder, steps: dict[Label, int]) -> None:
    assert strides(order) == {BLOCK: 768, **steps}


def test_axes_are_listed_outermost_first() -> None:
    config = LayoutConfig(4, 3, 2, 4, 16)
    assert FullyContiguous(config).axes() == (
        Axis(BLOCK, 4, 768), Axis(LAYER, 3, 256), Axis(OUTER, 2, 128), Axis(Label.PAYLOAD, 64, 2)
    )  # fmt: skip


def test_every_order_of_the_four_labels_is_one_and_has_a_name() -> None:
    orders = [BlockOrder(nest) for nest in itertools.permutations((LAYER, OUTER, PAGE, HEAD))]
    names = {order.name for order in orders}
    assert len(names) == 24
    assert names > {"NHD", "HND", "UNIVERSAL", "layer-head-outer-page"}
    for order in [*orders, BlockOrder.UNKNOWN]:
        assert BlockOrder.named(order.name) == order
        assert order.known == (order != BlockOrder.UNKNOWN)
        assert order.whole_regions == ({LAYER, OUTER} == set(order.nesting[:2]))


@pytest.mark.parametrize(
    "name",
    ["", "nhd", "NHD-", "layer-outer", "layer-outer-page-head", "layer-layer-page-head",
     "block-layer-outer-page", "page-head-layer"],
)  # fmt: skip
def test_a_wrong_name_of_an_order_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfig, match=r"order = .*: must be one of NHD, HND, UNIVERSAL"):
        BlockOrder.named(name)


@pytest.mark.parametrize(
    "nesting", [(), (LAYER,), (OUTER, LAYER), (LAYER, OUTER, PAGE, PAGE), (BLOCK, LAYER)]
)
def test_a_nesting_that_lacks_or_doubles_a_label_is_refused(nesting: tuple[Label, ...]) -> None:
    with pytest.raises(InvalidConfig, match="once each"):
        BlockOrder(nesting)
