"""Descriptors: the same layout again, or a refusal that names the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidConfig, InvalidDescriptor, LayoutMismatch
from kvbm.layout import (
    BlockOrder,
    ChosenLayout,
    DType,
    FullyContiguous,
    LayerSeparate,
    Layout,
    LayoutConfig,
    LayoutDescriptor,
    LayoutType,
    Paged,
    Ragged,
    layout_from,
    make_layout,
)

CONFIG = LayoutConfig(3, 2, 2, 4, 8, num_heads=2, order=BlockOrder.NHD)


def document(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(LayerSeparate(CONFIG).descriptor())
    for name, value in changes.items():
        place = whole["config"] if name in whole["config"] else whole
        place[name] = value
    return whole


def test_a_descriptor_is_json_with_a_version_and_all_fields() -> None:
    assert document() == {
        "version": 1,
        "kind": "LayerSeparate",
        "config": {
            "num_blocks": 3,
            "num_layers": 2,
            "outer_dim": 2,
            "page_size": 4,
            "inner_dim": 8,
            "dtype": "FP16",
            "alignment": 1,
            "num_heads": 2,
            "order": "NHD",
        },
        "details": {"outer_contiguous": False},
    }


@given(data=st.data())
def test_a_descriptor_gives_the_same_layout_again(
    small_layouts: st.SearchStrategy[Layout], data: st.DataObject
) -> None:
    layout = data.draw(small_layouts)
    descriptor = LayoutDescriptor.parse(layout.descriptor().encode())
    assert descriptor.json() == layout.descriptor()
    descriptor.refuse_unless_equal(LayoutDescriptor.parse(layout.descriptor()))
    if layout.kind is LayoutType.Custom:
        with pytest.raises(InvalidDescriptor, match="a custom layout is code"):
            layout_from(descriptor)
    else:
        again = layout_from(descriptor)
        assert again == layout
        assert (again.rows, again.data_bytes) == (layout.rows, layout.data_bytes)


@pytest.mark.clause("KV-INT-05", "KV-RMT-07")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_blocks", 4),
        ("num_layers", 3),
        ("outer_dim", 1),
        ("page_size", 8),
        ("inner_dim", 16),
        ("dtype", DType.BF16),
        ("alignment", 64),
        ("num_heads", 4),
        ("order", BlockOrder.HND),
    ],
)
def test_the_first_field_that_differs_is_named(field: str, value: object) -> None:
    ours = LayoutDescriptor(LayoutType.FullyContiguous, CONFIG)
    theirs = replace(ours, config=replace(CONFIG, **{field: value}))  # type: ignore[arg-type]
    with pytest.raises(LayoutMismatch, match=f"layouts differ in {field}: ") as caught:
        ours.refuse_unless_equal(theirs)
    assert caught.value.field == field
    assert (caught.value.ours, caught.value.theirs) == (getattr(CONFIG, field), value)
    ours.refuse_unless_equal(theirs, but=(field,))


@pytest.mark.clause("KV-INT-05")
def test_kinds_and_details_are_compared_too() -> None:
    def parsed(layout: Layout) -> LayoutDescriptor:
        return LayoutDescriptor.parse(layout.descriptor())

    ours = parsed(Paged(CONFIG))
    for other, field in [
        (Paged(CONFIG, outer_contiguous=True), "outer_contiguous"),
        (LayerSeparate(CONFIG), "kind"),
        (FullyContiguous(CONFIG), "kind"),
    ]:
        for one, two in [(ours, parsed(other)), (parsed(other), ours)]:
            with pytest.raises(LayoutMismatch) as caught:
                one.refuse_unless_equal(two)
            assert caught.value.field == field
    with pytest.raises(LayoutMismatch, match="outer_contiguous"):
        parsed(FullyContiguous(CONFIG)).refuse_unless_equal(ours, but=("kind",))
    ragged = LayoutConfig(3, 2, 1, 4, 8)
    with pytest.raises(LayoutMismatch, match="layer_bytes"):
        parsed(Ragged(ragged, [64, 8])).refuse_unless_equal(parsed(Ragged(ragged, [8, 64])))


@pytest.mark.clause("KV-ISO-06")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2; this program reads version 1"),
        ({"version": None}, "version None"),
        ({"version": "1"}, "version '1'"),
        ({"kind": "fully"}, "kind = 'fully'"),
        ({"kind": []}, "kind = "),
        ({"kind": None}, "kind = None"),
        ({"config": []}, "config is no object"),
        ({"details": []}, "details = "),
        ({"extra": 1}, "descriptor.extra is unknown"),
        ({"num_blocks": 0}, "config.num_blocks = 0"),
        ({"num_blocks": True}, "config.num_blocks = True"),
        ({"num_blocks": 3.0}, "config.num_blocks = 3.0"),
        ({"outer_dim": 3}, "config.outer_dim = 3"),
        ({"alignment": 3}, "config.alignment = 3"),
        ({"dtype": "float16"}, "config.dtype = 'float16'"),
        ({"dtype": 2}, "config.dtype = 2"),
        ({"dtype": []}, "config.dtype = "),
        ({"order": "DHN"}, "config.order = 'DHN'"),
        ({"order": None}, "config.order = None"),
        ({"num_heads": 3}, "config.num_heads = 3"),
        ({"num_heads": None}, "config.num_heads = None: the order NHD needs it"),
    ],
)
def test_a_wrong_document_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDescriptor, match=message):
        LayoutDescriptor.parse(json.dumps(document(**change)))


@pytest.mark.clause("KV-ISO-06")
@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "1", "{", "{}", "[" * 60000, '{"version": ' + "9" * 5000 + "}",
        '{"version": 1}', b"\xff\xfe\xff", "x" * 65537,
        LayerSeparate(CONFIG).descriptor() + " " * 65536,
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_descriptor_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidDescriptor):
        LayoutDescriptor.parse(text)


@pytest.mark.clause("KV-ISO-06")
def test_missing_and_doubled_fields_are_refused() -> None:
    for name in document():
        whole = document()
        del whole[name]
        with pytest.raises(InvalidDescriptor, match=r"missing|version None"):
            LayoutDescriptor.parse(json.dumps(whole))
    for name in document()["config"]:
        whole = document()
        del whole["config"][name]
        with pytest.raises(InvalidDescriptor, match=f"config.{name} is missing"):
            LayoutDescriptor.parse(json.dumps(whole))
    doubled = LayerSeparate(CONFIG).descriptor().replace("{", '{"version": 1, ', 1)
    with pytest.raises(InvalidDescriptor, match="a field is there twice"):
        LayoutDescriptor.parse(doubled)


@pytest.mark.parametrize(
    "details", [{}, {"outer_contiguous": 0}, {"outer_contiguous": "no"}, {"other": True},
                {"outer_contiguous": False, "more": 1}]
)  # fmt: skip
def test_details_that_do_not_go_with_the_kind_make_no_layout(details: dict[str, Any]) -> None:
    descriptor = LayoutDescriptor.parse(json.dumps(document(details=details)))
    with pytest.raises(InvalidDescriptor):
        layout_from(descriptor)


def test_a_ragged_layout_of_many_layers_fits() -> None:
    layout = Ragged(LayoutConfig(3, 4096, 1, 16, 1024), [32768] * 4096)
    assert layout_from(LayoutDescriptor.parse(layout.descriptor())) == layout


# ── kinds ─────────────────────────────────────────────────────────────────────────────────


def test_a_kind_is_chosen_as_in_the_documented_configuration() -> None:
    assert make_layout(LayoutType.FullyContiguous, CONFIG) == FullyContiguous(CONFIG)
    assert make_layout(LayoutType.Paged, CONFIG) == Paged(CONFIG)
    chosen = LayoutType.LayerSeparate(outer_contiguous=True)
    assert chosen == ChosenLayout(LayoutType.LayerSeparate, (), {"outer_contiguous": True})
    assert make_layout(chosen, CONFIG) == LayerSeparate(CONFIG, outer_contiguous=True)
    assert [kind.name for kind in LayoutType] == [
        "FullyContiguous", "LayerSeparate", "Paged", "Ragged", "Custom",
    ]  # fmt: skip


class OneBlock:
    name = "one block"

    def storage_bytes(self, config: LayoutConfig) -> list[int]:
        return [config.bytes_per_block]

    def offset(self, config: LayoutConfig, block: int, layer: int, outer: int) -> tuple[int, int]:
        del block
        return 0, (layer * config.outer_dim + outer) * config.region_bytes


def test_a_strategy_is_chosen_by_custom() -> None:
    config = LayoutConfig(1, 2, 2, 4, 8)
    layout = make_layout(LayoutType.Custom(OneBlock()), config)
    assert layout.kind is LayoutType.Custom
    assert layout.offset(0, 1, 1) == (0, 192)
    details = json.loads(layout.descriptor())["details"]
    assert details.keys() == {"strategy", "storage_bytes", "places"}


@pytest.mark.parametrize(
    "choose",
    [
        lambda: LayoutType.Custom,
        lambda: LayoutType.Ragged,
        lambda: LayoutType.FullyContiguous(outer_contiguous=True),
        lambda: "FullyContiguous",
        lambda: None,
    ],
    ids=range(5),
)
def test_options_that_do_not_go_with_the_kind_are_refused(choose: Callable[[], Any]) -> None:
    with pytest.raises(InvalidConfig, match="layout_type = "):
        make_layout(choose(), CONFIG)
