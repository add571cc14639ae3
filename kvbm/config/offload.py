"""Configuration of copies between tiers: when, how many at once, and which not.

Interface, as rules of use
    * The defaults are those of KVBM v1, apart from the disk filter, which is off: it lets a
      block onto the disk at its second attempt only, so that each loses its first reuse.
    * On disk there are always checksums; `checksums` adds them between memories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from kvbm.config.builder import Buildable
from kvbm.config.checks import check_choice, check_integer, check_type

OFFLOAD_MODES: Final = ("write_through", "write_back")
"""Copy a block down when it is registered; or when it is evicted."""


@final
@dataclass(frozen=True, kw_only=True)
class OffloadConfig(Buildable):
    """How blocks get to slower tiers.

    Parameters
    ----------
    mode : "write_through" or "write_back"
        Copy when a block is registered, or when it is evicted.
    max_concurrent_transfers : copies
        In flight on one route, such as device to host.
    max_transfer_batch_size : blocks
        In one copy.
    max_queued_blocks : blocks
        Waiting on one route; what comes then ends with `no_capacity`.
    checksums
        Check copies between memories too.
    disk_offload_filter
        Let a block onto the disk at its second attempt only.
    host_offload_prefix_min_priority
        Of a request's blocks, copy only those before the first of a lower priority. None
        copies all.

    Raises
    ------
    InvalidConfig
        A value is impossible; the message names it.
    """

    mode: str = "write_through"
    max_concurrent_transfers: int = 4
    max_transfer_batch_size: int = 16
    max_queued_blocks: int = 65_536
    checksums: bool = False
    disk_offload_filter: bool = False
    host_offload_prefix_min_priority: int | None = None

    def __post_init__(self) -> None:
        check_choice(self, "mode", OFFLOAD_MODES)
        for field in ("max_concurrent_transfers", "max_transfer_batch_size", "max_queued_blocks"):
            check_integer(self, field, 1)
        check_type(self, "checksums", bool)
        check_type(self, "disk_offload_filter", bool)
        if self.host_offload_prefix_min_priority is not None:
            check_integer(self, "host_offload_prefix_min_priority", 0)
