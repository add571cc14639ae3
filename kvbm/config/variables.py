"""The environment's variables: every one that is known, as a table.

What this is
    `VARIABLES` holds the `DYN_KVBM_*` variables of KVBM v1, `DOCUMENTED` those of the
    documented example. A row says what a value means and which setting it becomes.

Interface, as rules of use
    * A parser gives the value of the setting, or None for "as if unset", or raises
      ValueError with the rule that was broken.
    * A row without a setting has no effect here. It is in the table so that it can be told
      from a misspelt name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from kvbm.config.runtime import LARGEST_WORKER_ID
from kvbm.config.sizing import exact_size

PREFIX: Final = "DYN_KVBM_"

# ── parsers ───────────────────────────────────────────────────────────────────────────────


def text(value: str) -> str:
    """Take any text but the empty one."""
    if not value:
        raise ValueError("must not be empty; unset it instead")
    return value


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """Make a parser of decimal integers in `least` … `most`."""
    bounds = f"of at least {least}" if most is None else f"in {least} … {most}"

    def parse(value: str) -> int:
        digits = value.strip()
        if not (digits.isascii() and digits.isdecimal()):  # int() also takes 1_000 and +1
            raise ValueError(f"must be an integer {bounds}")
        number = int(digits)
        if number < least or (most is not None and number > most):
            raise ValueError(f"must be an integer {bounds}")
        return number

    return parse


def override(value: str) -> int | None:
    """Take a number of blocks; 0 is as if unset."""
    return integer(0)(value) or None


def gigabytes(value: str) -> Fraction:
    """Take a decimal number of at least 0, such as 0.5."""
    return exact_size("size", value.strip())


def boolean(value: str) -> bool:
    """Take 1, true, yes, on; 0, false, no, off; in any case of letters."""
    word = value.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be one of 1, true, yes, on, 0, false, no, off")


def negated(value: str) -> bool:
    """Take the opposite of `boolean`, for variables that disable something."""
    return not boolean(value)


def absent(_: str) -> bool:
    """Give False, whatever the value: it is enough that the variable is there."""
    return False


def allocator_type(value: str) -> str:
    """Take `default` or `open-direct`."""
    if value not in ("default", "open-direct"):
        raise ValueError("must be one of default, open-direct")
    return value


# ── tables ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, or, with a `*` at its end, all that begin so.

    Parameters
    ----------
    name
    default
        What holds where it is not set, for people.
    parse
        From text to the value of the setting.
    setting
        `section.name`, as in `kvbm.config.settings`; empty where it has no effect here.
    meaning
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    setting: str
    meaning: str

    @property
    def honoured(self) -> bool:
        """Whether the variable has an effect here."""
        return bool(self.setting)


DOCUMENTED: Final = tuple(
    Variable(*row)
    for row in (
        ("WORKER_ID", "0", integer(0, LARGEST_WORKER_ID), "runtime.worker_id", "this worker"),
        ("NUM_LAYERS", "32", integer(1), "model.num_layers", "layers of the model"),
        ("GPU_MEMORY_GB", "24", integer(1), "device.memory_gib", "GiB, of which 80 % are used"),
    )
)

# fmt: off
_HONOURED: Final = (
    ("CPU_CACHE_GB", "unset", gigabytes, "host.cache_size_gb",
     "size of the host tier, 10⁹ bytes; 0 is no tier"),
    ("CPU_CACHE_OVERRIDE_NUM_BLOCKS", "unset", override, "host.num_blocks",
     "its blocks; wins over the size when > 0"),
    ("DISK_CACHE_GB", "unset", gigabytes, "disk.cache_size_gb",
     "size of the disk tier, 10⁹ bytes; 0 is no tier"),
    ("DISK_CACHE_OVERRIDE_NUM_BLOCKS", "unset", override, "disk.num_blocks",
     "its blocks; wins over the size when > 0"),
    ("DISK_CACHE_DIR", "as TMPDIR says", text, "disk.path",
     "directory of the disk tier"),
    ("DISK_DISABLE_O_DIRECT", "unset", absent, "disk.direct",
     "no direct access to the disk, if set to anything"),
    ("MAX_CONCURRENT_TRANSFERS", "4", integer(1), "offload.max_concurrent_transfers",
     "copies in flight on one route"),
    ("MAX_TRANSFER_BATCH_SIZE", "16", integer(1), "offload.max_transfer_batch_size",
     "blocks in one copy"),
    ("DISABLE_DISK_OFFLOAD_FILTER", "true (v1: false)", negated, "offload.disk_offload_filter",
     "let a block onto the disk at its first attempt"),
    ("HOST_OFFLOAD_PREFIX_MIN_PRIORITY", "unset", integer(0),
     "offload.host_offload_prefix_min_priority",
     "of a request, copy only what comes before the first block of less"),
)
# fmt: on

_WITHOUT_EFFECT: Final = (
    ("DISK_ALLOCATOR_TYPE", "default", allocator_type, "how v1 opens its file"),
    ("DISK_ZEROFILL_FALLBACK", "unset", str, "how v1 fills a file; ours is always preallocated"),
    ("LEADER_WORKER_INIT_TIMEOUT_SECS", "1800", str, "leader and worker are one process here"),
    ("LEADER_ZMQ_*", "127.0.0.1, 56001, 56002", str, "as above: host and ports"),
    ("METRICS", "off", str, "an endpoint for metrics"),
    ("METRICS_PORT", "6880", str, "its port"),
    ("DISABLE_WRITE_COMBINED", "unset", str, "how v1 pins memory"),
    ("ENABLE_NUMA", "on", str, "obsolete in v1 too"),
    ("ENABLE_RECORD", "unset", str, "a recorder of v1"),
    ("NCCL_MLA_MODE", "unset", str, "MLA over NCCL in v1"),
    ("NCCL_MAX_CTAS", "unset", str, "as above"),
    ("CACHE_STATS_MAX_REQUESTS", "unset", str, "a log line of v1"),
    ("CACHE_STATS_LOG_INTERVAL_SECS", "unset", str, "as above"),
    ("NIXL_BACKEND_*", "unset", str, "backends of NIXL"),
    ("OBJECT_*", "unset", str, "documented, and read by nothing in v1"),
    ("TRANSFER_BATCH_SIZE", "unset", str, "as above; MAX_TRANSFER_BATCH_SIZE is read"),
)

VARIABLES: Final = (
    *(Variable(PREFIX + row[0], *row[1:]) for row in _HONOURED),
    *(
        Variable(PREFIX + name, default, parse, "", meaning)
        for name, default, parse, meaning in _WITHOUT_EFFECT
    ),
)
"""All `DYN_KVBM_*` variables."""
