from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.config import (
    Buildable,
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    NixlAgent,
    NixlOptions,
    OffloadConfig,
)
from kvbm.errors import InvalidConfig, KvbmError, MissingSetting, UnknownSetting
from kvbm.layout import DType, LayoutType
from kvbm.storage import NullAllocator

ALLOCATOR = NullAllocator()
COUNTS = st.integers(1, 64)

RUNTIME = st.fixed_dictionaries(
    {"worker_id": st.integers(0, 2**64 - 1)},
    optional={"nixl": st.sampled_from([NixlOptions.Enabled, NixlOptions.Disabled])},
)
MODEL = st.fixed_dictionaries(
    {
        "num_layers": COUNTS,
        "outer_dim": st.integers(1, 2),
        "page_size": COUNTS,
        "inner_dim": COUNTS,
    },
    optional={"dtype": st.sampled_from(DType)},
)
LAYOUT = st.fixed_dictionaries(
    {"num_blocks": COUNTS, "allocator": st.just(ALLOCATOR)},
    optional={
        "layout_type": st.sampled_from([LayoutType.FullyContiguous, LayoutType.LayerSeparate]),
        "alignment": st.sampled_from([1, 64, 4096]),
        "policy": st.sampled_from(["priority", "lru", "fifo"]),
        "duplicates": st.sampled_from(["reject", "allow"]),
    },
)
OFFLOAD = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["write_through", "write_back"]),
        "max_concurrent_transfers": COUNTS,
        "checksums": st.booleans(),
        "host_offload_prefix_min_priority": st.none() | COUNTS,
    },
)
BUILDABLE = [
    (KvManagerRuntimeConfig, RUNTIME),
    (KvManagerModelConfig, MODEL),
    (KvManagerLayoutConfig, LAYOUT),
    (OffloadConfig, OFFLOAD),
]


@pytest.mark.parametrize(("kind", "settings"), BUILDABLE)
@given(data=st.data())
def test_a_chain_is_a_constructor_call(
    kind: type[Buildable], settings: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    chosen = data.draw(settings)
    builder = kind.builder()
    for name in data.draw(st.permutations(list(chosen))):
        assert getattr(builder, name)(chosen[name]) is builder
    assert builder.build() == kind(**chosen)


@given(runtime=RUNTIME, model=MODEL, device=LAYOUT, offload=OFFLOAD)
def test_so_is_that_of_the_whole(**parts: dict[str, Any]) -> None:
    settings = {
        "runtime": KvManagerRuntimeConfig(**parts["runtime"]),
        "model": KvManagerModelConfig(**parts["model"]),
        "device_layout": KvManagerLayoutConfig(**parts["device"]),
        "offload": OffloadConfig(**parts["offload"]),
        "scheme": "lineage",
        "verify_tokens": True,
    }
    builder = KvBlockManagerConfig.builder()
    for name, value in settings.items():
        getattr(builder, name)(value)
    assert builder.build() == KvBlockManagerConfig(**settings)


@pytest.mark.parametrize("kind", [kind for kind, _ in BUILDABLE])
def test_every_field_can_be_named(kind: type[Buildable]) -> None:
    builder = kind.builder()
    for field in fields(kind):  # type: ignore[arg-type]
        assert callable(getattr(builder, field.name))


def test_an_unknown_setting_is_refused_where_it_is_named() -> None:
    builder = KvManagerModelConfig.builder()
    with pytest.raises(UnknownSetting) as caught:
        builder.num_layer(32)
    assert str(caught.value) == (
        "KvManagerModelConfig has no setting 'num_layer'; did you mean 'num_layers'? Known are "
        "num_layers, outer_dim, page_size, inner_dim, dtype, num_heads, order"
    )
    assert caught.value.field == "num_layer"
    assert caught.value.known[0] == "num_layers"
    assert not hasattr(builder, "nothing_like_it")
    with pytest.raises(UnknownSetting, match=r"'zzz'; Known are"):
        builder.zzz(1)


def test_a_missing_setting_is_refused_by_build() -> None:
    builder = KvManagerModelConfig.builder().num_layers(2).outer_dim(2).inner_dim(64)
    with pytest.raises(MissingSetting) as caught:
        builder.build()
    assert str(caught.value) == (
        "KvManagerModelConfig needs page_size, which has no default; set it"
    )
    assert caught.value.field == "page_size"
    assert builder.page_size(16).build().page_size == 16


def test_old_code_catches_both() -> None:
    assert issubclass(UnknownSetting, AttributeError | ValueError)
    assert issubclass(MissingSetting, TypeError)
    assert issubclass(MissingSetting, InvalidConfig)
    assert issubclass(UnknownSetting, KvbmError)


def test_a_wrong_value_is_refused_by_build() -> None:
    with pytest.raises(InvalidConfig, match=r"outer_dim = 3"):
        KvManagerModelConfig.builder().num_layers(2).outer_dim(3).page_size(4).inner_dim(8).build()


def test_the_last_call_counts_and_the_builder_stays_usable() -> None:
    builder = KvManagerRuntimeConfig.builder().worker_id(1).worker_id(2)
    first = builder.build()
    second = builder.worker_id(3).build()
    assert (first.worker_id, second.worker_id) == (2, 3)


def test_a_builder_shows_what_it_has_and_can_be_copied() -> None:
    builder = KvManagerRuntimeConfig.builder().worker_id(1)
    assert repr(builder) == "KvManagerRuntimeConfig.builder().worker_id(1)"
    assert copy.copy(builder).build() == builder.build()


def test_the_three_words_about_nixl() -> None:
    agent = NixlAgent("worker")

    def chain() -> Any:
        return KvManagerRuntimeConfig.builder().worker_id(0)

    assert chain().build().nixl is NixlOptions.Enabled
    assert chain().disable_nixl().build().nixl is NixlOptions.Disabled
    assert chain().disable_nixl().enable_nixl().build().nixl is NixlOptions.Enabled
    chosen = chain().use_nixl_agent(agent).build().nixl
    assert chosen == NixlOptions.EnabledWithAgent(agent)
    assert chosen.agent is agent
