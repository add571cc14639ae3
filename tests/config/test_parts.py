"""Defaults, rules and error texts of each part, and of all together."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.config import (
    BlockParallelismStrategy,
    CancellationToken,
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    NixlAgent,
    NixlOptions,
    OffloadConfig,
    block_stride,
    blocks_from_gb,
    blocks_from_gib,
)
from kvbm.errors import InvalidConfig
from kvbm.events import EventLog
from kvbm.layout import BlockOrder, DType, LayoutType
from kvbm.pool import make_policy
from kvbm.storage import (
    NullAllocator,
    NullStorage,
    SystemStorage,
    calculate_storage_requirements,
)

ALLOCATOR = NullAllocator()
MODEL: dict[str, Any] = {"num_layers": 2, "outer_dim": 2, "page_size": 4, "inner_dim": 8}


def model(**settings: Any) -> KvManagerModelConfig:
    return KvManagerModelConfig(**{**MODEL, **settings})


def tier(**settings: Any) -> KvManagerLayoutConfig:
    source = {} if {"storage", "logical", "allocator"} & set(settings) else {"allocator": ALLOCATOR}
    return KvManagerLayoutConfig(**{"num_blocks": 4, **source, **settings})


def whole(**settings: Any) -> KvBlockManagerConfig:
    parts = {"runtime": KvManagerRuntimeConfig(worker_id=0), "model": model()}
    return KvBlockManagerConfig(**{**parts, **settings})


def refused(kind: Any, field: str, value: object, text: str = "", **more: Any) -> InvalidConfig:
    with pytest.raises(InvalidConfig) as caught:
        kind(**{field: value, **more})
    assert caught.value.field == field
    assert caught.value.value is value
    assert str(caught.value).startswith(f"{field} = {value!r}: ")
    assert text in str(caught.value)
    return caught.value


# ── runtime ───────────────────────────────────────────────────────────────────────────────


def test_defaults_of_the_runtime() -> None:
    one, two = KvManagerRuntimeConfig(worker_id=1), KvManagerRuntimeConfig(worker_id=1)
    assert one.nixl is NixlOptions.Enabled
    assert one.async_runtime is None
    assert one.metrics_registry is None
    assert isinstance(one.cancellation_token, CancellationToken)
    assert one.cancellation_token is not two.cancellation_token
    assert one == two


@pytest.mark.parametrize("worker_id", [-1, 2**64, 1.0, "1", None, True])
def test_a_worker_id_is_a_u64(worker_id: object) -> None:
    text = f"must be an integer in 0 … {2**64 - 1}"
    refused(KvManagerRuntimeConfig, "worker_id", worker_id, text)


def test_the_ends_of_u64_are_worker_ids() -> None:
    assert KvManagerRuntimeConfig(worker_id=0).worker_id == 0
    largest = KvManagerRuntimeConfig(worker_id=np.uint64(2**64 - 1)).worker_id  # type: ignore[arg-type]
    assert largest == 2**64 - 1
    assert type(largest) is int


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("cancellation_token", "stop", "must be of type CancellationToken"),
        ("nixl", True, "must be of type NixlOptions"),
        ("async_runtime", "loop", "must be of type AbstractEventLoop, or None"),
    ],
)
def test_other_settings_of_the_runtime_have_their_types(
    field: str, value: object, text: str
) -> None:
    refused(KvManagerRuntimeConfig, field, value, text, worker_id=0)


def test_an_event_loop_and_a_token_of_ones_own() -> None:
    loop, token = asyncio.new_event_loop(), CancellationToken()
    runtime = KvManagerRuntimeConfig(worker_id=0, async_runtime=loop, cancellation_token=token)
    loop.close()
    assert runtime.async_runtime is loop
    assert runtime.cancellation_token is token


def test_options_of_nixl() -> None:
    agent = NixlAgent("a")
    assert repr(NixlOptions.Enabled) == "NixlOptions.Enabled"
    assert repr(NixlOptions.Disabled) == "NixlOptions.Disabled"
    assert repr(NixlOptions.EnabledWithAgent(agent)) == (
        "NixlOptions.EnabledWithAgent(NixlAgent(name='a'))"
    )
    assert NixlOptions.Enabled != NixlOptions.Disabled != NixlOptions.EnabledWithAgent(agent)
    refused(NixlAgent, "name", "")
    refused(NixlAgent, "name", 3)
    refused(NixlOptions, "enabled", 1, "must be True or False")
    refused(NixlOptions, "agent", 1, "must have a name", enabled=True)
    refused(NixlOptions, "agent", agent, "must be None where NIXL is disabled", enabled=False)
    refused(NixlOptions.EnabledWithAgent, "agent", None, "must have a name")


# ── model ─────────────────────────────────────────────────────────────────────────────────


@given(
    layers=st.integers(1, 200),
    outer=st.integers(1, 2),
    page=st.integers(1, 1024),
    inner=st.integers(1, 10_000),
    dtype=st.sampled_from(DType),
    blocks=st.integers(1, 10_000),
)
def test_a_block_has_the_product_of_the_numbers(
    layers: int, outer: int, page: int, inner: int, dtype: DType, blocks: int
) -> None:
    shape = KvManagerModelConfig(
        num_layers=layers, outer_dim=outer, page_size=page, inner_dim=inner, dtype=dtype
    )
    assert shape.dtype_width_bytes == dtype.width
    assert shape.bytes_per_block == layers * outer * page * inner * dtype.width
    assert shape.bytes_per_block * blocks == calculate_storage_requirements(
        layers, outer, page, inner, dtype.width, blocks
    )


def test_defaults_of_the_model() -> None:
    assert model().dtype is DType.FP16
    assert model().num_heads is None
    assert model().order == BlockOrder.UNKNOWN


@pytest.mark.parametrize("field", ["num_layers", "page_size", "inner_dim"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
def test_numbers_of_the_model_are_at_least_one(field: str, value: object) -> None:
    refused(model, field, value, "must be an integer of at least 1")


@pytest.mark.parametrize("value", [0, 3, -1, None, True])
def test_outer_is_one_or_two(value: object) -> None:
    refused(model, "outer_dim", value, "must be 1 or 2")


def test_other_rules_of_the_model() -> None:
    refused(model, "dtype", "FP16", "must be a DType")
    refused(model, "order", "NHD", "must be a BlockOrder")
    refused(model, "num_heads", 3, "must divide inner_dim = 8")
    with pytest.raises(InvalidConfig, match="the order NHD needs it"):
        model(order=BlockOrder.NHD)


def test_a_model_gives_the_numbers_of_a_layout() -> None:
    shape = model(num_heads=np.int64(2), order=BlockOrder.NHD, dtype=DType.BF16)
    assert type(shape.num_heads) is int
    layout = shape.layout_config(num_blocks=7, alignment=64)
    assert (layout.num_blocks, layout.alignment, layout.num_heads) == (7, 64, 2)
    assert shape.layout_config(7).alignment == 1
    assert (layout.dtype, layout.order) == (DType.BF16, BlockOrder.NHD)
    assert (layout.num_layers, layout.outer_dim, layout.page_size, layout.inner_dim) == (2, 2, 4, 8)


# ── tiers ─────────────────────────────────────────────────────────────────────────────────


def test_defaults_of_a_tier() -> None:
    layout = KvManagerLayoutConfig(num_blocks=4, allocator=ALLOCATOR)
    assert layout.layout_type is LayoutType.FullyContiguous
    assert (layout.storage, layout.logical, layout.offload_filter) == (None, None, None)
    assert (layout.alignment, layout.policy, layout.duplicates) == (1, "priority", "reject")


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
def test_a_tier_has_blocks(value: object) -> None:
    refused(tier, "num_blocks", value, "must be an integer of at least 1")


def test_memory_comes_from_somewhere() -> None:
    with pytest.raises(InvalidConfig) as caught:
        KvManagerLayoutConfig(num_blocks=4)
    assert str(caught.value) == (
        "storage, allocator, logical = None: "
        "Must provide either `storage` or `allocator` or `logical`."
    )


SOURCES = {
    "storage": [NullStorage(512)],
    "allocator": ALLOCATOR,
    "logical": BlockParallelismStrategy.LeaderWorkerSharded,
}


@pytest.mark.parametrize(
    "names",
    [
        ("storage", "allocator"),
        ("storage", "logical"),
        ("allocator", "logical"),
        ("storage", "allocator", "logical"),
    ],
)
def test_and_from_one_place_only(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        KvManagerLayoutConfig(num_blocks=4, **{name: SOURCES[name] for name in names})  # type: ignore[arg-type]
    assert caught.value.field == ", ".join(names)
    assert caught.value.rule == (
        "Only one selection of either `storage` and `allocator` or `logical`."
    )


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_alone_is_fine(name: str) -> None:
    layout = tier(**{name: SOURCES[name]})
    assert [source for source in SOURCES if getattr(layout, source) is not None] == [name]


class Filter:
    refuses = staticmethod(lambda *_: None)


class Nothing:
    def __repr__(self) -> str:
        return "Nothing()"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("layout_type", "Paged", "must be a LayoutType"),
        ("allocator", Nothing(), "must have the method allocate()"),
        ("logical", "sharded", "must be of type BlockParallelismStrategy, or None"),
        ("storage", [], "must be a list of at least one storage"),
        ("storage", NullStorage(512), "must be a list of at least one storage"),
        ("alignment", 0, "must be an integer of at least 1"),
        ("alignment", 3, "must be a power of two, in bytes"),
        ("policy", "random", "must be one of priority, lru"),
        ("policy", None, "must be a name or an EvictionPolicy"),
        ("policy", Nothing(), "must have the method bind()"),
        ("duplicates", "keep", "must be one of reject, allow"),
        ("offload_filter", Nothing(), "must have the method refuses()"),
    ],
)
def test_other_rules_of_a_tier(field: str, value: object, text: str) -> None:
    refused(tier, field, value, text)


def test_a_list_of_storages_holds_storages() -> None:
    with pytest.raises(InvalidConfig, match=r"storage\[1\] = 7: must be a storage"):
        tier(storage=[NullStorage(512), 7])


def test_a_list_of_storages_is_kept_as_it_was() -> None:
    storages = [NullStorage(512)]
    layout = tier(storage=storages)
    assert layout.storage == tuple(storages)
    storages.clear()
    assert layout.storage


def test_a_policy_and_a_filter_of_ones_own() -> None:
    policy, own = make_policy("lru"), Filter()
    layout = tier(policy=policy, offload_filter=own)
    assert layout.policy is policy
    assert layout.offload_filter is own


# ── offload ───────────────────────────────────────────────────────────────────────────────


def test_defaults_of_offload() -> None:
    assert OffloadConfig() == OffloadConfig(
        mode="write_through",
        max_concurrent_transfers=4,
        max_transfer_batch_size=16,
        max_queued_blocks=65_536,
        checksums=False,
        disk_offload_filter=False,
        host_offload_prefix_min_priority=None,
    )


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("mode", "write-back", "must be one of write_through, write_back"),
        ("max_concurrent_transfers", 0, "must be an integer of at least 1"),
        ("max_transfer_batch_size", 0, "must be an integer of at least 1"),
        ("max_queued_blocks", 0, "must be an integer of at least 1"),
        ("checksums", 1, "must be of type bool"),
        ("disk_offload_filter", "no", "must be of type bool"),
        ("host_offload_prefix_min_priority", -1, "must be an integer of at least 0"),
    ],
)
def test_rules_of_offload(field: str, value: object, text: str) -> None:
    refused(OffloadConfig, field, value, text)


# ── the whole ─────────────────────────────────────────────────────────────────────────────


def test_defaults_of_the_whole() -> None:
    config = whole()
    assert config.tiers() == {}
    assert (config.event_manager, config.offload) == (None, OffloadConfig())
    assert (config.scheme, config.verify_tokens) == ("dynamo", False)


def test_tiers_come_fastest_first() -> None:
    disk, device = tier(num_blocks=9), tier(num_blocks=1)
    assert whole(disk_layout=disk, device_layout=device).tiers() == {
        "device": device,
        "disk": disk,
    }


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("runtime", None, "must be of type KvManagerRuntimeConfig"),
        ("model", 3, "must be of type KvManagerModelConfig"),
        ("device_layout", 1000, "must be of type KvManagerLayoutConfig, or None"),
        ("host_layout", 1000, "must be of type KvManagerLayoutConfig, or None"),
        ("disk_layout", 1000, "must be of type KvManagerLayoutConfig, or None"),
        ("event_manager", "log", "must have the method append()"),
        ("offload", "write_back", "must be of type OffloadConfig"),
        ("scheme", "md5", "must be one of dynamo, dynamo-v1, lineage, sha256"),
        ("verify_tokens", 1, "must be of type bool"),
    ],
)
def test_rules_of_the_whole(field: str, value: object, text: str) -> None:
    refused(whole, field, value, text)


def test_an_event_log_is_an_event_manager() -> None:
    log = EventLog()
    assert whole(event_manager=log).event_manager is log


def test_each_layout_fits_the_model() -> None:
    with pytest.raises(InvalidConfig) as caught:
        whole(host_layout=tier(layout_type=LayoutType.Paged, alignment=64))
    assert caught.value.field == "host_layout.alignment"
    with pytest.raises(InvalidConfig, match=r"^device_layout\.outer_dim = 2"):
        whole(device_layout=tier(layout_type=LayoutType.Ragged([64, 64])))


@pytest.mark.clause("KV-CAP-01")
def test_each_storage_fits_its_layout() -> None:
    needed = 4 * model().bytes_per_block
    exact = whole(device_layout=tier(storage=[SystemStorage(needed)]))
    assert exact.device_layout is not None
    with pytest.raises(InvalidConfig, match=r"^device_layout\.memories\[0\]\.size = 1023"):
        whole(device_layout=tier(storage=[NullStorage(needed - 1)]))
    with pytest.raises(InvalidConfig, match=r"^device_layout\.number of memories = 2"):
        whole(device_layout=tier(storage=[NullStorage(needed), NullStorage(needed)]))


def test_nothing_serves_two_purposes() -> None:
    storage = NullStorage(1024)
    with pytest.raises(
        InvalidConfig, match=r"^host_layout\.storage\[0\] = .* is device_layout\.st"
    ):
        whole(device_layout=tier(storage=[storage]), host_layout=tier(storage=[storage]))
    halves = tier(storage=[storage, storage], layout_type=LayoutType.LayerSeparate)
    with pytest.raises(InvalidConfig, match=r"^device_layout\.storage\[1\]"):
        whole(device_layout=halves)
    policy = make_policy("lru")
    with pytest.raises(InvalidConfig, match=r"^disk_layout\.policy"):
        whole(host_layout=tier(policy=policy), disk_layout=tier(policy=policy))
    whole(host_layout=tier(policy="lru"), disk_layout=tier(policy="lru"))


def test_the_last_tier_has_no_filter() -> None:
    whole(device_layout=tier(offload_filter=Filter()), host_layout=tier(offload_filter=Filter()))
    with pytest.raises(InvalidConfig, match=r"Disk offload filter is not supported\.") as caught:
        whole(disk_layout=tier(offload_filter=Filter()))
    assert caught.value.field == "disk_layout.offload_filter"


# ── sizes ─────────────────────────────────────────────────────────────────────────────────


def test_the_worked_example() -> None:
    assert blocks_from_gib(24, 8_388_608, percent=100) == 3072
    assert blocks_from_gib(24, 8_388_608) == 2457


@pytest.mark.clause("KV-CAP-01")
@given(
    thousandths=st.integers(0, 10**6),
    bytes_per_block=st.integers(1, 10**9),
    percent=st.integers(1, 100),
)
def test_blocks_fit_and_one_more_does_not(
    thousandths: int, bytes_per_block: int, percent: int
) -> None:
    size = thousandths * 10**6
    for spelling in (Fraction(thousandths, 1000), thousandths / 1000, f"{thousandths}e-3"):
        blocks = blocks_from_gb(spelling, bytes_per_block)
        assert blocks * bytes_per_block <= size < (blocks + 1) * bytes_per_block
    all_blocks = thousandths * 2**30 // bytes_per_block
    used = blocks_from_gib(thousandths, bytes_per_block, percent)
    assert used * 100 <= all_blocks * percent < (used + 1) * 100


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), "many", None, True, "-0.1"])
def test_a_size_is_a_number(size: object) -> None:
    with pytest.raises(InvalidConfig, match="must be a number of at least 0"):
        blocks_from_gb(size, 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="must be a number of at least 0"):
        blocks_from_gib(size, 1)  # type: ignore[arg-type]


@pytest.mark.clause("KV-CAP-01")
@given(
    kind=st.sampled_from([LayoutType.FullyContiguous, LayoutType.LayerSeparate]),
    alignment=st.sampled_from([1, 64, 4096]),
    inner=st.integers(1, 300),
    blocks=st.integers(1, 50),
)
def test_padding_counts(kind: LayoutType, alignment: int, inner: int, blocks: int) -> None:
    shape = model(inner_dim=inner)
    stride = block_stride(shape, kind, alignment)
    layout = tier(num_blocks=blocks, layout_type=kind, alignment=alignment).layout(shape)
    assert sum(layout.data_bytes) <= stride * blocks
    assert stride >= shape.bytes_per_block
    if alignment == 1:
        assert stride == shape.bytes_per_block
