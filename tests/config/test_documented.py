"""The document's examples, line by line, and their twins with keyword arguments."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from kvbm.config import (
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    NixlOptions,
    OffloadConfig,
)
from kvbm.layout import DType, LayoutType
from kvbm.storage import DeviceAllocator, PinnedAllocator


def test_the_basic_configuration() -> None:
    runtime_config = (
        KvManagerRuntimeConfig.builder()
        .worker_id(0)
        .enable_nixl()
        .build()
    )  # fmt: skip
    model_config = (
        KvManagerModelConfig.builder()
        .num_layers(32)
        .outer_dim(2)
        .page_size(16)
        .inner_dim(4096)
        .dtype(DType.FP16)
        .build()
    )
    config = KvBlockManagerConfig.builder().runtime(runtime_config).model(model_config).build()

    assert config == KvBlockManagerConfig(
        runtime=KvManagerRuntimeConfig(worker_id=0, nixl=NixlOptions.Enabled),
        model=KvManagerModelConfig(
            num_layers=32, outer_dim=2, page_size=16, inner_dim=4096, dtype=DType.FP16
        ),
    )
    assert config.tiers() == {}
    assert config.model.bytes_per_block == 8_388_608


def test_the_advanced_configuration() -> None:
    device_allocator, pinned_allocator = DeviceAllocator.emulated(), PinnedAllocator()
    runtime_config = KvManagerRuntimeConfig(worker_id=0)
    model_config = KvManagerModelConfig(num_layers=32, outer_dim=2, page_size=16, inner_dim=4096)
    device_layout = (
        KvManagerLayoutConfig.builder()
        .num_blocks(1000)
        .layout_type(LayoutType.FullyContiguous)
        .allocator(device_allocator)
        .build()
    )
    host_layout = (
        KvManagerLayoutConfig.builder()
        .num_blocks(500)
        .layout_type(LayoutType.Paged)
        .allocator(pinned_allocator)
        .build()
    )
    config = (
        KvBlockManagerConfig.builder()
        .runtime(runtime_config)
        .model(model_config)
        .device_layout(device_layout)
        .host_layout(host_layout)
        .build()
    )

    assert config == KvBlockManagerConfig(
        runtime=runtime_config,
        model=model_config,
        device_layout=KvManagerLayoutConfig(num_blocks=1000, allocator=device_allocator),
        host_layout=KvManagerLayoutConfig(
            num_blocks=500, layout_type=LayoutType.Paged, allocator=pinned_allocator
        ),
    )
    assert list(config.tiers()) == ["device", "host"]
    assert sum(config.tiers()["device"].layout(config.model).data_bytes) == 8_388_608_000


@pytest.mark.parametrize(
    "kind",
    [
        KvBlockManagerConfig,
        KvManagerLayoutConfig,
        KvManagerModelConfig,
        KvManagerRuntimeConfig,
        OffloadConfig,
    ],
)
def test_configurations_do_not_change_and_arguments_have_names(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(kind))


def test_a_change_is_refused() -> None:
    with pytest.raises(FrozenInstanceError):
        KvManagerRuntimeConfig(worker_id=0).worker_id = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        KvManagerRuntimeConfig(0)  # type: ignore[misc]
