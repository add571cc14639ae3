"""Strategies: by which means bytes get from one kind of memory to another.

What this is
    A table. A cell is one way, or a way that needs a capability of the machine beside one
    that always works. Two hops are two cells of the same table, over pinned memory.

Interface, as rules of use
    * `resolve(source, target)` gives a Route, whose hops an executor takes one by one.
    * Capabilities are off unless somebody probed and found them: a path that the machine
      cannot do must not be tried (KV-TIR-09).
    * A refusal comes before anything is allocated.
    * An emulated device is a DEVICE here; its executor copies in host memory.

Clauses: KV-TIR-09
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from kvbm.errors import UnsupportedTransfer


class Place(Enum):
    """Kind of memory, as far as moving bytes goes."""

    SYSTEM = "System"
    PINNED = "Pinned"
    DEVICE = "Device"
    DISK = "Disk"
    REMOTE = "Remote"
    NULL = "Null"

    def __str__(self) -> str:
        return self.value


class Strategy(Enum):
    """How one hop is made."""

    COPY = "copy in host memory"
    HOST_TO_DEVICE = "asynchronous copy to the device"
    DEVICE_TO_HOST = "asynchronous copy from the device"
    PAGEABLE_TO_DEVICE = "blocking copy of pageable memory to the device"
    DEVICE_TO_PAGEABLE = "blocking copy from the device to pageable memory"
    DEVICE_TO_DEVICE = "asynchronous copy in one device"
    PEER = "copy from device to device"
    WRITE = "write to disk"
    READ = "read from disk"
    GPU_DIRECT_WRITE = "write to disk from the device"
    GPU_DIRECT_READ = "read from disk to the device"
    NIXL_WRITE = "write to the remote"
    NIXL_READ = "read from the remote"


@dataclass(frozen=True)
class Capabilities:
    """What the machine can do beyond what always works. All off until probed."""

    pinned_bounce: bool = False  # staging over pinned memory beats a pageable copy
    gpu_direct_storage: bool = False  # disk and device without host memory
    gpu_rdma: bool = False  # remote and device without host memory
    peer_access: bool = False  # two devices without host memory


@dataclass(frozen=True)
class TwoHops:
    """Over pinned memory, a bounce buffer between source and target."""


@dataclass(frozen=True)
class Either:
    """The better way where the machine has the capability, else the other."""

    capability: Literal["pinned_bounce", "gpu_direct_storage", "gpu_rdma", "peer_access"]
    better: Strategy | TwoHops
    otherwise: Strategy | TwoHops


@dataclass(frozen=True)
class Refuse:
    """There is no way, for this reason."""

    reason: str


Cell: TypeAlias = Strategy | TwoHops | Either | Refuse

_TWO_HOPS: Final = TwoHops()
_NULL: Final = Refuse("null memory has no bytes")
_S, _P, _D, _K, _R, _N = Place
_GDS: Final = "gpu_direct_storage"

TABLE: Final[dict[tuple[Place, Place], Cell]] = {
    (_S, _S): Strategy.COPY,
    (_S, _P): Strategy.COPY,
    (_S, _D): Either("pinned_bounce", _TWO_HOPS, Strategy.PAGEABLE_TO_DEVICE),
    (_S, _K): Strategy.WRITE,
    (_S, _R): Strategy.NIXL_WRITE,
    (_P, _S): Strategy.COPY,
    (_P, _P): Strategy.COPY,
    (_P, _D): Strategy.HOST_TO_DEVICE,
    (_P, _K): Strategy.WRITE,
    (_P, _R): Strategy.NIXL_WRITE,
    (_D, _S): Either("pinned_bounce", _TWO_HOPS, Strategy.DEVICE_TO_PAGEABLE),
    (_D, _P): Strategy.DEVICE_TO_HOST,
    (_D, _D): Strategy.DEVICE_TO_DEVICE,  # in one device; see BETWEEN_DEVICES
    (_D, _K): Either(_GDS, Strategy.GPU_DIRECT_WRITE, _TWO_HOPS),
    (_D, _R): Either("gpu_rdma", Strategy.NIXL_WRITE, _TWO_HOPS),
    (_K, _S): Strategy.READ,
    (_K, _P): Strategy.READ,
    (_K, _D): Either(_GDS, Strategy.GPU_DIRECT_READ, _TWO_HOPS),
    (_K, _K): _TWO_HOPS,
    (_K, _R): _TWO_HOPS,
    (_R, _S): Strategy.NIXL_READ,
    (_R, _P): Strategy.NIXL_READ,
    (_R, _D): Either("gpu_rdma", Strategy.NIXL_READ, _TWO_HOPS),
    (_R, _K): _TWO_HOPS,
    (_R, _R): Refuse("one end must be local; let the other worker pull"),
    **{(place, _N): _NULL for place in Place},
    **{(_N, place): _NULL for place in Place},
}
"""From (source, target) to the way."""

BETWEEN_DEVICES: Final = Either("peer_access", Strategy.PEER, _TWO_HOPS)
"""The way from one device to another one."""


@dataclass(frozen=True)
class Hop:
    """One step of a route."""

    source: Place
    target: Place
    strategy: Strategy


@dataclass(frozen=True)
class Route:
    """The way that was taken: one hop, or two over a bounce buffer in pinned memory."""

    hops: tuple[Hop, ...]

    @property
    def needs_bounce(self) -> bool:
        """Whether the executor needs bounce blocks in pinned memory."""
        return len(self.hops) > 1

    def __str__(self) -> str:
        return ", then ".join(
            f"{hop.source} to {hop.target}: {hop.strategy.value}" for hop in self.hops
        )


def resolve(
    source: Place,
    target: Place,
    capabilities: Capabilities | None = None,
    *,
    same_device: bool = True,
) -> Route:
    """Choose the way from one kind of memory to another.

    Parameters
    ----------
    source, target
    capabilities
        What was probed; nothing by default.
    same_device
        For two DEVICEs: whether they are one.

    Raises
    ------
    UnsupportedTransfer
        There is no way.

    Examples
    --------
    >>> print(resolve(Place.DEVICE, Place.DISK))
    Device to Pinned: asynchronous copy from the device, then Pinned to Disk: write to disk
    >>> print(resolve(Place.DEVICE, Place.DISK, Capabilities(gpu_direct_storage=True)))
    Device to Disk: write to disk from the device
    """
    cell = TABLE[source, target]
    if (source, target) == (Place.DEVICE, Place.DEVICE) and not same_device:
        cell = BETWEEN_DEVICES
    if isinstance(cell, Refuse):
        raise UnsupportedTransfer(source, target, cell.reason)
    if isinstance(cell, Either):
        able = getattr(capabilities or Capabilities(), cell.capability)
        cell = cell.better if able else cell.otherwise
    if isinstance(cell, TwoHops):
        first = resolve(source, Place.PINNED)
        return Route(first.hops + resolve(Place.PINNED, target).hops)
    return Route((Hop(source, target, cell),))
