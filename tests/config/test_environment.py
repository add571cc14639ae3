"""Every row of the table of variables: default, rule, and what becomes of a value."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.config import DOCUMENTED, VARIABLES, OffloadConfig, read_environment
from kvbm.errors import InvalidConfig

TABLE: dict[str, tuple[str | None, dict[str, Any], list[str]]] = {
    "CPU_CACHE_GB": (
        "host.cache_size_gb",
        {"10": 10, "0.5": Fraction(1, 2), "0": 0, " 1e2 ": 100},
        ["-1", "ten", "", "nan", "inf", "1,5"],
    ),
    "DISK_CACHE_GB": ("disk.cache_size_gb", {"1000": 1000, "0.1": Fraction(1, 10)}, ["x", "-0.1"]),
    "CPU_CACHE_OVERRIDE_NUM_BLOCKS": ("host.num_blocks", {"8": 8}, ["-1", "1.5", "", "1_000"]),
    "DISK_CACHE_OVERRIDE_NUM_BLOCKS": ("disk.num_blocks", {"8": 8}, ["-1", "x"]),
    "DISK_CACHE_DIR": ("disk.path", {"/tmp/": "/tmp/"}, [""]),  # noqa: S108
    "DISK_DISABLE_O_DIRECT": ("disk.direct", {"1": False, "": False, "false": False}, []),
    "MAX_CONCURRENT_TRANSFERS": ("offload.max_concurrent_transfers", {"1": 1}, ["0", "-1", "x"]),
    "MAX_TRANSFER_BATCH_SIZE": ("offload.max_transfer_batch_size", {"64": 64}, ["0", "x", ""]),
    "DISABLE_DISK_OFFLOAD_FILTER": (
        "offload.disk_offload_filter",
        {"1": False, "true": False, "Yes": False, "on": False}
        | {"0": True, "FALSE": True, "no": True, "off": True},
        ["", "2", "disabled"],
    ),
    "HOST_OFFLOAD_PREFIX_MIN_PRIORITY": (
        "offload.host_offload_prefix_min_priority",
        {"0": 0, "7": 7},
        ["-1", "high", "٣"],
    ),
    "DISK_ALLOCATOR_TYPE": (None, {"default": None, "open-direct": None}, ["mmap", ""]),
    "DISK_ZEROFILL_FALLBACK": (None, {"": None}, []),
    "LEADER_WORKER_INIT_TIMEOUT_SECS": (None, {"120": None}, []),
    "LEADER_ZMQ_HOST": (None, {"127.0.0.1": None}, []),
    "LEADER_ZMQ_PUB_PORT": (None, {"56001": None}, []),
    "LEADER_ZMQ_ACK_PORT": (None, {"56002": None}, []),
    "METRICS": (None, {"true": None}, []),
    "METRICS_PORT": (None, {"6880": None}, []),
    "DISABLE_WRITE_COMBINED": (None, {"1": None}, []),
    "ENABLE_NUMA": (None, {"1": None}, []),
    "ENABLE_RECORD": (None, {"1": None}, []),
    "NCCL_MLA_MODE": (None, {"1": None}, []),
    "NCCL_MAX_CTAS": (None, {"1": None}, []),
    "CACHE_STATS_MAX_REQUESTS": (None, {"1": None}, []),
    "CACHE_STATS_LOG_INTERVAL_SECS": (None, {"1": None}, []),
    "NIXL_BACKEND_UCX": (None, {"true": None}, []),
    "OBJECT_BUCKET": (None, {"b": None}, []),
    "TRANSFER_BATCH_SIZE": (None, {"16": None}, []),
}
"""Written a second time, from the description of v1: setting, good values, bad values."""

GOOD = [(name, *pair) for name, (_, good, _) in TABLE.items() for pair in good.items()]
BAD = [(name, value) for name, (_, _, bad) in TABLE.items() for value in bad]


@pytest.mark.parametrize(("name", "value", "parsed"), GOOD)
def test_good_values(name: str, value: str, parsed: Any) -> None:
    variable = f"DYN_KVBM_{name}"
    setting, _, _ = TABLE[name]
    found = read_environment({variable: value})
    assert found.unknown == ()
    if setting is None:
        assert found.ignored == (variable,)
        assert found.settings == found.origins == {}
    else:
        section, key = setting.split(".")
        assert found.settings == {section: {key: parsed}}
        assert type(found.settings[section][key]) is not float
        assert found.origins == {setting: variable}
        assert found.ignored == ()


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_values_are_errors_that_name_variable_and_value(name: str, value: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        read_environment({f"DYN_KVBM_{name}": value})
    assert caught.value.field == f"DYN_KVBM_{name}"
    assert caught.value.value == value
    assert str(caught.value).startswith(f"DYN_KVBM_{name} = {value!r}: must ")


def test_the_table_here_and_the_table_there_name_the_same() -> None:
    patterns = {variable.name.removeprefix("DYN_KVBM_") for variable in VARIABLES}
    assert {name for name in patterns if "*" not in name} <= set(TABLE)
    honoured = {variable.setting for variable in VARIABLES if variable.honoured}
    assert honoured == {setting for setting, _, _ in TABLE.values() if setting}
    assert len(patterns) == len(VARIABLES)


def test_every_row_says_what_it_means_and_its_default() -> None:
    for variable in (*DOCUMENTED, *VARIABLES):
        assert variable.meaning
        assert variable.default


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_defaults_for_people_are_those_of_the_classes(variable: Any) -> None:
    section, _, name = variable.setting.partition(".")
    if section == "offload":
        words = {None: "unset", False: "true (v1: false)"}
        default = getattr(OffloadConfig(), name)
        assert variable.default == words.get(default, str(default))


@pytest.mark.parametrize("name", ["CPU", "DISK"])
def test_an_override_of_zero_is_as_if_unset(name: str) -> None:
    found = read_environment({f"DYN_KVBM_{name}_CACHE_OVERRIDE_NUM_BLOCKS": "0"})
    assert found.settings == found.origins == {}


def test_what_nobody_knows_is_listed() -> None:
    environ = {"DYN_KVBM_CPU_CACHE": "1", "DYN_KVBM_": "", "PATH": "", "dyn_kvbm_x": ""}
    assert read_environment(environ).unknown == ("DYN_KVBM_", "DYN_KVBM_CPU_CACHE")


def readable(name: str, value: str) -> bool:
    """Ask for one variable alone."""
    try:
        read_environment({name: value})
    except InvalidConfig:
        return False
    return True


@given(
    st.dictionaries(
        st.sampled_from([*(f"DYN_KVBM_{name}" for name in TABLE), "DYN_KVBM_NO_SUCH", "HOME"]),
        st.sampled_from(["0", "1", "0.5", "x", "", "true", "-3", "default"]),
    )
)
def test_every_variable_is_told_of_once(environ: dict[str, str]) -> None:
    bad = [name for name, value in environ.items() if not readable(name, value)]
    if bad:
        with pytest.raises(InvalidConfig) as caught:
            read_environment(environ)
        assert caught.value.field == min(bad)
        return
    found = read_environment(environ)
    told = {*found.origins.values(), *found.unknown, *found.ignored}
    unset = {name for name, value in environ.items() if "OVERRIDE" in name and value == "0"}
    assert told == set(environ) - {"HOME"} - unset
    assert sum(map(len, found.settings.values())) == len(found.origins)


def test_the_documented_variables_are_read_only_when_asked_for() -> None:
    environ = {"WORKER_ID": "3", "NUM_LAYERS": "many", "GPU_MEMORY_GB": "24"}
    assert read_environment(environ).settings == {}
    with pytest.raises(InvalidConfig, match="NUM_LAYERS = 'many'"):
        read_environment(environ, DOCUMENTED)
