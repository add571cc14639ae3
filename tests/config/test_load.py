"""From layers to a configuration: TOML, the environment, keyword arguments, in this order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.config import (
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    NixlAgent,
    NixlOptions,
    OffloadConfig,
    create_config_from_env,
    from_toml,
    load_config,
)
from kvbm.config.settings import merged
from kvbm.errors import CudaUnavailable, InvalidConfig, MissingSetting, UnknownSetting
from kvbm.events import EventLog
from kvbm.layout import BlockOrder, DType, LayoutType
from kvbm.storage import (
    DeviceAllocator,
    DiskAllocator,
    NullAllocator,
    NullStorage,
    PinnedAllocator,
    SystemAllocator,
)

BASE = """
[runtime]
worker_id = 1
[model]
num_layers = 32
outer_dim = 2
page_size = 16
inner_dim = 4096
"""
BLOCK = 8_388_608
"""Bytes of a block of that model."""

WHOLE = """
scheme = "lineage"
verify_tokens = true

[runtime]
worker_id = 7
nixl = "agent-7"

[model]
num_layers = 2
outer_dim = 2
page_size = 16
inner_dim = 64
dtype = "BF16"
num_heads = 4
order = "NHD"

[device]
num_blocks = 100
layout_type = "LayerSeparate"
layout_options = {outer_contiguous = true}
allocator = "emulated"
device_id = 1
alignment = 512
policy = "lineage"
duplicates = "allow"

[host]
num_blocks = 50
allocator = "system"

[disk]
num_blocks = 1000
path = "/"
direct = false

[offload]
mode = "write_back"
max_concurrent_transfers = 2
checksums = true
"""


# ── TOML ──────────────────────────────────────────────────────────────────────────────────


def test_a_file_with_everything() -> None:
    config = from_toml(WHOLE)
    device, host, disk = config.tiers().values()
    assert config == KvBlockManagerConfig(
        runtime=KvManagerRuntimeConfig(
            worker_id=7, nixl=NixlOptions.EnabledWithAgent(NixlAgent("agent-7"))
        ),
        model=KvManagerModelConfig(
            num_layers=2,
            outer_dim=2,
            page_size=16,
            inner_dim=64,
            dtype=DType.BF16,
            num_heads=4,
            order=BlockOrder.NHD,
        ),
        device_layout=KvManagerLayoutConfig(
            num_blocks=100,
            layout_type=LayoutType.LayerSeparate(outer_contiguous=True),
            allocator=device.allocator,
            alignment=512,
            policy="lineage",
            duplicates="allow",
        ),
        host_layout=KvManagerLayoutConfig(num_blocks=50, allocator=host.allocator),
        disk_layout=KvManagerLayoutConfig(num_blocks=1000, allocator=disk.allocator),
        offload=OffloadConfig(mode="write_back", max_concurrent_transfers=2, checksums=True),
        scheme="lineage",
        verify_tokens=True,
    )
    assert isinstance(device.allocator, DeviceAllocator)
    assert device.allocator.device_id == 1
    assert isinstance(host.allocator, SystemAllocator)
    assert isinstance(disk.allocator, DiskAllocator)
    assert disk.allocator.path == Path("/")
    assert disk.allocator._direct is False


def test_a_text_a_path_and_the_name_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kvbm.toml"
    file.write_text(BASE, "utf-8")
    assert from_toml(BASE) == from_toml(file) == from_toml(str(file))


def test_a_file_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    with pytest.raises(InvalidConfig, match="cannot be read") as caught:
        from_toml(missing)
    assert caught.value.value == str(missing)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        from_toml(binary)
    with pytest.raises(InvalidConfig, match="line 1"):
        from_toml("[runtime\nworker_id = 1")


def toml(sections: dict[str, dict[str, Any]]) -> str:
    """Write sections of texts, integers and booleans, which TOML writes as JSON does."""
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(one)}" for key, one in values.items())]
    return "\n".join([*lines, ""])


COUNTS = st.integers(1, 100)
PLAIN = st.fixed_dictionaries(
    {
        "runtime": st.fixed_dictionaries(
            {"worker_id": st.integers(0, 2**63 - 1)}, optional={"nixl": st.booleans()}
        ),
        "model": st.fixed_dictionaries(
            {
                "num_layers": COUNTS,
                "outer_dim": st.integers(1, 2),
                "page_size": COUNTS,
                "inner_dim": COUNTS,
            },
            optional={"dtype": st.sampled_from([one.name for one in DType])},
        ),
    },
    optional={
        "device": st.fixed_dictionaries(
            {"num_blocks": COUNTS, "allocator": st.just("null")},
            optional={"policy": st.sampled_from(["lru", "fifo"])},
        ),
        "offload": st.fixed_dictionaries(
            {}, optional={"max_queued_blocks": COUNTS, "checksums": st.booleans()}
        ),
    },
)


@given(PLAIN)
def test_what_is_written_as_toml_is_read_again(sections: dict[str, dict[str, Any]]) -> None:
    config = from_toml(toml(sections))
    runtime, model = dict(sections["runtime"]), dict(sections["model"])
    if "nixl" in runtime:
        runtime["nixl"] = NixlOptions.Enabled if runtime["nixl"] else NixlOptions.Disabled
    if "dtype" in model:
        model["dtype"] = DType[model["dtype"]]
    assert config.runtime == KvManagerRuntimeConfig(**runtime)
    assert config.model == KvManagerModelConfig(**model)
    assert config.offload == OffloadConfig(**sections.get("offload", {}))
    if "device" in sections:
        assert config.device_layout is not None
        assert isinstance(config.device_layout.allocator, NullAllocator)
        same = {**sections["device"], "allocator": config.device_layout.allocator}
        assert config.device_layout == KvManagerLayoutConfig(**same)
    assert config == load_config(toml(sections), environ={}, **tier_object(config))


def tier_object(config: KvBlockManagerConfig) -> dict[str, Any]:
    """Give the allocator again: two allocators are never equal."""
    if config.device_layout is None:
        return {}
    return {"device": {"allocator": config.device_layout.allocator}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("typo = 1", "the configuration has no setting 'typo'; Known are runtime, model"),
        ("[devise]\n", "the configuration has no setting 'devise'; did you mean 'device'?"),
        ("[host]\nnum_block = 1", "[host] has no setting 'num_block'; did you mean 'num_blocks'?"),
        (
            "[offload]\nmax_concurent_transfers = 1",
            "[offload] has no setting 'max_concurent_transfers'; did you mean 'max_concurrent_t",
        ),
        (
            "[device]\nnum_blocks = 1\nallocator = 'emulated'\npath = '/'",
            "[device] has no setting 'path'",
        ),
        ("[host]\nnum_blocks = 1\ndevice_id = 0", "[host] has no setting 'device_id'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_known_one(text: str, message: str) -> None:
    with pytest.raises(UnknownSetting) as caught:
        from_toml(text + BASE)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\n", "the configuration needs [runtime]"),
        ("[runtime]\n", "the configuration needs [model]"),
        ("[runtime]\n[model]\nnum_layers = 1", "[model] needs outer_dim"),
        (BASE.replace("worker_id = 1", ""), "[runtime] needs worker_id"),
        (BASE + "[host]\n", "[host] needs num_blocks or cache_size_gb"),
        (BASE + "[disk]\npath = '/'", "[disk] needs num_blocks or cache_size_gb"),
    ],
)
def test_missing_settings_are_named_with_their_section(text: str, message: str) -> None:
    with pytest.raises(MissingSetting) as caught:
        from_toml(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("runtime = 3", "runtime", "must be a section"),
        ("[runtime]\nworker_id = -1", "runtime.worker_id", "must be an integer in 0"),
        ("[runtime]\nworker_id = 0\nnixl = ''", "runtime.nixl", "must be true, false"),
        ("[model]\nnum_layers = 0", "model.num_layers", "must be an integer of at least 1"),
        ("[model]\ndtype = 'FP17'", "model.dtype", "must be one of FP8, "),
        ("[model]\norder = 'nhd'", "model.order", "must be one of NHD"),
        ("[host]\nnum_blocks = 0", "host.num_blocks", "must be an integer of at least 1"),
        ("[host]\ncache_size_gb = -1", "host.cache_size_gb", "must be a number of at least 0"),
        ("[host]\ncache_size_gb = 0.001", "host.cache_size_gb", f"one block of {BLOCK} bytes"),
        ("[host]\nnum_blocks = 1\nallocator = 'cuda'", "host.allocator", "pinned, system, null"),
        ("[host]\nnum_blocks = 1\nlayout_type = 'Custom'", "host.layout_type", "must be one of"),
        ("[host]\nnum_blocks = 1\nlayout_options = {odd = 1}", "host_layout.layout_type", "odd"),
        ("[host]\nnum_blocks = 1\nlayout_options = 3", "host.layout_options", "must be a section"),
        ("[host]\nnum_blocks = 1\nlayout_type = 3", "host.layout_type", "must be a LayoutType"),
        (
            "[host]\nnum_blocks = 1\nlayout_type = 3\nlayout_options = {a = 1}",
            "host.layout_type",
            "must be a LayoutType",
        ),
        ("[disk]\nnum_blocks = 1\npath = '/no/such'", "disk.path", "must be a directory"),
        ("[disk]\nnum_blocks = 1\ndirect = 'no'", "disk.direct", "must be true or false"),
        ("[disk]\nnum_blocks = 1\npersistent = 1", "disk.persistent", "must be true or false"),
        ("[disk]\nnum_blocks = 1\npath = 3", "disk.path", "must be a text"),
        ("[offload]\nmode = 'never'", "offload.mode", "must be one of write_through"),
        ("scheme = 'md5'", "scheme", "must be one of dynamo"),
    ],
)
def test_wrong_values_are_named_with_their_section(text: str, field: str, rule: str) -> None:
    base = {"runtime": {"worker_id": 1}, "model": MODEL}
    with pytest.raises(InvalidConfig) as caught:
        config_of(text, base)
    assert caught.value.field == field
    assert rule in str(caught.value)


MODEL = {"num_layers": 32, "outer_dim": 2, "page_size": 16, "inner_dim": 4096}


def config_of(text: str, base: dict[str, Any]) -> KvBlockManagerConfig:
    """Read `text`; what it does not say comes from `base`."""
    import tomllib  # noqa: PLC0415

    from kvbm.config.settings import config_from  # noqa: PLC0415

    return config_from(merged(base, tomllib.loads(text)))


def test_allocators_that_are_taken_where_none_is_named() -> None:
    config = from_toml(BASE + "[host]\nnum_blocks = 1\n[disk]\nnum_blocks = 1")
    host, disk = config.tiers().values()
    assert isinstance(host.allocator, PinnedAllocator)
    assert isinstance(disk.allocator, DiskAllocator)


@pytest.mark.parametrize("value", [True, False])
def test_nixl_is_a_switch_too(value: bool) -> None:
    config = from_toml(BASE.replace("worker_id", f"nixl = {str(value).lower()}\nworker_id"))
    assert config.runtime.nixl.enabled is value


# ── the documented example ────────────────────────────────────────────────────────────────


def test_create_config_from_env_without_any_variable() -> None:
    config = create_config_from_env({}, allocator="emulated")
    assert config.runtime == KvManagerRuntimeConfig(worker_id=0)
    assert config.model == KvManagerModelConfig(
        num_layers=32, outer_dim=2, page_size=16, inner_dim=4096
    )
    assert list(config.tiers()) == ["device"]
    assert config.tiers()["device"].num_blocks == 2457
    assert config.tiers()["device"].layout_type is LayoutType.FullyContiguous


@given(
    worker=st.integers(0, 2**64 - 1),
    layers=st.integers(1, 128),
    memory=st.integers(1, 200),
)
def test_create_config_from_env_with_its_three_variables(
    worker: int, layers: int, memory: int
) -> None:
    environ = {"WORKER_ID": str(worker), "NUM_LAYERS": str(layers), "GPU_MEMORY_GB": str(memory)}
    allocator = NullAllocator()
    config = create_config_from_env(environ, allocator=allocator)
    assert config.runtime.worker_id == worker
    assert config.model.num_layers == layers
    device = config.tiers()["device"]
    assert device.num_blocks == memory * 2**30 // (layers * 2 * 16 * 4096 * 2) * 8 // 10
    assert device.allocator is allocator


@pytest.mark.parametrize("name", ["WORKER_ID", "NUM_LAYERS", "GPU_MEMORY_GB"])
@pytest.mark.parametrize("value", ["", "x", "-1", "1.5"])
def test_a_documented_variable_that_does_not_parse_is_an_error(name: str, value: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        create_config_from_env({name: value}, allocator="emulated")
    assert (caught.value.field, caught.value.value) == (name, value)


@pytest.mark.parametrize(
    ("name", "value"), [("NUM_LAYERS", "0"), ("GPU_MEMORY_GB", "0"), ("WORKER_ID", str(2**64))]
)
def test_nor_is_one_that_is_out_of_range(name: str, value: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{name} = '{value}': must be an integer"):
        create_config_from_env({name: value}, allocator="emulated")


def test_a_memory_without_room_for_one_block_names_its_variable() -> None:
    environ = {"GPU_MEMORY_GB": "1", "NUM_LAYERS": "5000"}
    with pytest.raises(InvalidConfig, match="GPU_MEMORY_GB = '1': is less than one block"):
        create_config_from_env(environ, allocator="emulated")


def test_the_real_device_is_taken_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvbm.storage.device._missing", lambda: "nothing")
    with pytest.raises(CudaUnavailable, match="emulated"):
        create_config_from_env({})


def test_the_environment_of_the_process_is_taken_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKER_ID", "5")
    monkeypatch.setenv("DYN_KVBM_CPU_CACHE_OVERRIDE_NUM_BLOCKS", "6")
    assert create_config_from_env(allocator="emulated").runtime.worker_id == 5
    assert load_config(BASE).tiers()["host"].num_blocks == 6


# ── tiers from DYN_KVBM_* ─────────────────────────────────────────────────────────────────


def tiers_of(**variables: str) -> dict[str, int]:
    environ = {f"DYN_KVBM_{name}": value for name, value in variables.items()}
    config = create_config_from_env(environ, allocator="emulated")
    return {name: tier.num_blocks for name, tier in config.tiers().items() if name != "device"}


def test_sizes_are_decimal_gigabytes() -> None:
    assert tiers_of(CPU_CACHE_GB="10") == {"host": 10**10 // BLOCK}
    assert tiers_of(CPU_CACHE_GB="0.5", DISK_CACHE_GB="100") == {
        "host": 5 * 10**8 // BLOCK,
        "disk": 10**11 // BLOCK,
    }


def test_an_override_wins_when_it_is_more_than_zero() -> None:
    assert tiers_of(CPU_CACHE_GB="10", CPU_CACHE_OVERRIDE_NUM_BLOCKS="7") == {"host": 7}
    assert tiers_of(CPU_CACHE_GB="0", CPU_CACHE_OVERRIDE_NUM_BLOCKS="7") == {"host": 7}
    assert tiers_of(DISK_CACHE_OVERRIDE_NUM_BLOCKS="7") == {"disk": 7}
    assert tiers_of(CPU_CACHE_GB="10", CPU_CACHE_OVERRIDE_NUM_BLOCKS="0") == {
        "host": 10**10 // BLOCK
    }


def test_a_size_of_zero_is_no_tier() -> None:
    assert tiers_of(CPU_CACHE_GB="0", DISK_CACHE_GB="1") == {"disk": 10**9 // BLOCK}


def test_a_directory_alone_is_no_tier() -> None:
    assert tiers_of(DISK_CACHE_DIR="/no/such/directory", DISK_DISABLE_O_DIRECT="") == {}
    with pytest.raises(InvalidConfig, match="DYN_KVBM_DISK_CACHE_DIR = '/no/such': must be a dir"):
        tiers_of(DISK_CACHE_DIR="/no/such", DISK_CACHE_GB="1")


def test_where_the_disk_lies(tmp_path: Path) -> None:
    environ = {
        "DYN_KVBM_DISK_CACHE_GB": "1",
        "DYN_KVBM_DISK_CACHE_DIR": str(tmp_path),
        "DYN_KVBM_DISK_DISABLE_O_DIRECT": "false",
    }
    config = create_config_from_env(environ, allocator="emulated")
    allocator = config.tiers()["disk"].allocator
    assert isinstance(allocator, DiskAllocator)
    assert allocator.path == tmp_path
    assert allocator._direct is False


def test_a_size_without_room_for_one_block_names_its_variable() -> None:
    with pytest.raises(InvalidConfig, match=r"DYN_KVBM_CPU_CACHE_GB = '0\.001': is less than one"):
        tiers_of(CPU_CACHE_GB="0.001")


def test_settings_of_offload() -> None:
    environ = {
        "DYN_KVBM_MAX_CONCURRENT_TRANSFERS": "8",
        "DYN_KVBM_MAX_TRANSFER_BATCH_SIZE": "32",
        "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER": "0",
        "DYN_KVBM_HOST_OFFLOAD_PREFIX_MIN_PRIORITY": "5",
    }
    assert create_config_from_env(environ, allocator="emulated").offload == OffloadConfig(
        max_concurrent_transfers=8,
        max_transfer_batch_size=32,
        disk_offload_filter=True,
        host_offload_prefix_min_priority=5,
    )


def test_unknown_variables_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="DYN_KVBM_CPU_CACHE$") as caught:
        load_config(BASE, environ={"DYN_KVBM_CPU_CACHE": "1"})
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="DYN_KVBM_X, DYN_KVBM_Y$") as caught:
        create_config_from_env({"DYN_KVBM_X": "1", "DYN_KVBM_Y": ""}, allocator="emulated")
    assert caught[0].filename == __file__


# ── layers ────────────────────────────────────────────────────────────────────────────────

PATHS = [
    ("offload.max_concurrent_transfers", 4, 5, ("DYN_KVBM_MAX_CONCURRENT_TRANSFERS", "6"), 6, 7),
    ("offload.max_transfer_batch_size", 16, 5, ("DYN_KVBM_MAX_TRANSFER_BATCH_SIZE", "6"), 6, 7),
    (
        "offload.host_offload_prefix_min_priority",
        None,
        5,
        ("DYN_KVBM_HOST_OFFLOAD_PREFIX_MIN_PRIORITY", "6"),
        6,
        7,
    ),
    (
        "offload.disk_offload_filter",
        False,
        True,
        ("DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER", "1"),
        False,
        True,
    ),
]


@pytest.mark.parametrize(("path", "default", "file", "variable", "environment", "keyword"), PATHS)
@pytest.mark.parametrize("layers", range(8))
def test_defaults_then_toml_then_environment_then_keywords(
    path: str,
    default: Any,
    file: Any,
    variable: tuple[str, str],
    environment: Any,
    keyword: Any,
    layers: int,
) -> None:
    section, name = path.split(".")
    text = f"{BASE}[{section}]\n{name} = {json.dumps(file)}\n" if layers & 1 else BASE
    environ = dict([variable]) if layers & 2 else {}
    keywords = {section: {name: keyword}} if layers & 4 else {}
    config = load_config(text, environ=environ, **keywords)
    expected = (
        keyword if layers & 4 else environment if layers & 2 else file if layers & 1 else default
    )
    assert getattr(config.offload, name) == expected


def host_blocks(text: str, environ: dict[str, str], **keywords: Any) -> int | None:
    host = load_config(BASE + text, environ=environ, **keywords).host_layout
    return None if host is None else host.num_blocks


def test_a_size_takes_the_place_of_a_size_under_another_name() -> None:
    size = {"DYN_KVBM_CPU_CACHE_GB": "1"}
    blocks = {"DYN_KVBM_CPU_CACHE_OVERRIDE_NUM_BLOCKS": "3"}
    assert host_blocks("[host]\nnum_blocks = 2", {}) == 2
    assert host_blocks("[host]\nnum_blocks = 2", size) == 10**9 // BLOCK
    assert host_blocks("[host]\ncache_size_gb = 2", blocks) == 3
    assert host_blocks("[host]\ncache_size_gb = 2", size | blocks) == 3
    assert host_blocks("", blocks, host={"cache_size_gb": 2}) == 2 * 10**9 // BLOCK
    assert host_blocks("[host]\nnum_blocks = 2", {"DYN_KVBM_CPU_CACHE_GB": "0"}) is None
    assert host_blocks("[host]\nnum_blocks = 2\ncache_size_gb = 1", {}) == 2
    assert host_blocks("[host]\nmemory_gib = 1", {}) == 2**30 // BLOCK * 8 // 10


def test_a_source_takes_the_place_of_another_one_with_its_options() -> None:
    text = BASE + "[disk]\nnum_blocks = 1\nallocator = 'disk'\npath = '/'\npersistent = false"
    allocator, storage = NullAllocator(), NullStorage(BLOCK)
    disk = load_config(text, environ={}, disk={"allocator": allocator}).tiers()["disk"]
    assert disk.allocator is allocator
    disk = load_config(text, environ={}, disk={"storage": [storage]}).tiers()["disk"]
    assert (disk.allocator, disk.storage) == (None, (storage,))
    with pytest.raises(InvalidConfig, match=r"disk\.path = '/': is for an allocator"):
        load_config(text, environ={}, disk={"storage": [storage], "path": "/"})


def test_a_directory_from_the_environment_goes_with_a_disk_from_elsewhere(tmp_path: Path) -> None:
    environ = {"DYN_KVBM_DISK_CACHE_DIR": str(tmp_path)}
    disk = load_config(BASE + "[disk]\nnum_blocks = 1", environ=environ).tiers()["disk"]
    assert isinstance(disk.allocator, DiskAllocator)
    assert disk.allocator.path == tmp_path
    disk = load_config(BASE, environ=environ, disk={"num_blocks": 1}).tiers()["disk"]
    assert isinstance(disk.allocator, DiskAllocator)
    assert disk.allocator.path == tmp_path


def test_the_file_is_that_of_the_argument_or_else_of_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "kvbm=1.toml"  # a name that would be a text, were it an argument
    file.write_text(BASE, "utf-8")
    environ = {"KVBM_CONFIG_PATH": str(file)}
    assert load_config(environ=environ).runtime.worker_id == 1
    other = BASE.replace("worker_id = 1", "worker_id = 2")
    assert load_config(other, environ=environ).runtime.worker_id == 2
    with pytest.raises(InvalidConfig, match=r"cannot be read") as caught:
        load_config(environ={"KVBM_CONFIG_PATH": "/no/such/file"})
    assert caught.value.value == "/no/such/file"
    with pytest.raises(MissingSetting):
        load_config(environ={"KVBM_CONFIG_PATH": ""})


def test_everything_may_come_by_keyword() -> None:
    log = EventLog()
    config = load_config(
        environ={},
        runtime={"worker_id": 1, "nixl": NixlOptions.Disabled},
        model={**MODEL, "dtype": DType.FP8},
        device={"num_blocks": 1, "layout_type": LayoutType.Paged, "allocator": "emulated"},
        event_manager=log,
        scheme="sha256",
    )
    assert config.runtime.nixl is NixlOptions.Disabled
    assert config.model.dtype is DType.FP8
    assert config.tiers()["device"].layout_type is LayoutType.Paged
    assert config.event_manager is log
    assert config.scheme == "sha256"
    with pytest.raises(UnknownSetting, match="did you mean 'device'"):
        load_config(BASE, environ={}, devices={})


def test_an_error_names_the_layer_that_counts() -> None:
    environ = {"DYN_KVBM_CPU_CACHE_GB": "1"}
    with pytest.raises(InvalidConfig, match=r"^host\.cache_size_gb = -1"):
        load_config(BASE, environ=environ, host={"cache_size_gb": -1})


LAYERS = st.lists(
    st.dictionaries(
        st.sampled_from(["host", "disk", "offload"]),
        st.dictionaries(
            st.sampled_from(["num_blocks", "cache_size_gb", "policy", "allocator", "path"]),
            st.integers(0, 9),
            min_size=1,
        ),
    ),
    max_size=4,
)


@given(LAYERS)
def test_merging_takes_nothing_from_the_layers_and_is_associative(
    layers: list[dict[str, dict[str, int]]],
) -> None:
    before = json.dumps(layers)
    result = merged(*layers)
    assert json.dumps(layers) == before
    if layers:
        assert merged(merged(*layers[:-1]), layers[-1]) == result
        for section, values in layers[-1].items():
            assert values.items() <= result[section].items()
    for section, values in result.items():
        for name, value in values.items():
            assert value in [one[section][name] for one in layers if name in one.get(section, {})]
