"""The table of strategies: every cell, with and without what the machine may offer."""

from __future__ import annotations

import itertools

import pytest

from kvbm.errors import ErrorKind, IncompatibleTypes, UnsupportedTransfer
from kvbm.transfer import Capabilities, Hop, Place, Route, Strategy, resolve
from kvbm.transfer.strategy import BETWEEN_DEVICES, TABLE

ALL = Capabilities(pinned_bounce=True, gpu_direct_storage=True, gpu_rdma=True, peer_access=True)

# Columns: System, Pinned, Device, Disk, Remote. "a>b" is two hops over pinned memory.
WITHOUT = {
    "System": "COPY COPY PAGEABLE_TO_DEVICE WRITE NIXL_WRITE",
    "Pinned": "COPY COPY HOST_TO_DEVICE WRITE NIXL_WRITE",
    "Device": "DEVICE_TO_PAGEABLE DEVICE_TO_HOST DEVICE_TO_DEVICE DEVICE_TO_HOST>WRITE "
    "DEVICE_TO_HOST>NIXL_WRITE",
    "Disk": "READ READ READ>HOST_TO_DEVICE READ>WRITE READ>NIXL_WRITE",
    "Remote": "NIXL_READ NIXL_READ NIXL_READ>HOST_TO_DEVICE NIXL_READ>WRITE refuse",
}
WITH = {
    "System": "COPY COPY COPY>HOST_TO_DEVICE WRITE NIXL_WRITE",
    "Pinned": "COPY COPY HOST_TO_DEVICE WRITE NIXL_WRITE",
    "Device": "DEVICE_TO_HOST>COPY DEVICE_TO_HOST DEVICE_TO_DEVICE GPU_DIRECT_WRITE NIXL_WRITE",
    "Disk": "READ READ GPU_DIRECT_READ READ>WRITE READ>NIXL_WRITE",
    "Remote": "NIXL_READ NIXL_READ NIXL_READ NIXL_READ>WRITE refuse",
}
CELLS = [
    (Place(source), target, cell, capabilities)
    for table, capabilities in [(WITHOUT, None), (WITHOUT, Capabilities()), (WITH, ALL)]
    for source, row in table.items()
    for target, cell in zip(list(Place)[:5], row.split(), strict=True)
]


@pytest.mark.clause("KV-TIR-09")
@pytest.mark.parametrize(("source", "target", "cell", "capabilities"), CELLS)
def test_every_cell(
    source: Place, target: Place, cell: str, capabilities: Capabilities | None
) -> None:
    if cell == "refuse":
        with pytest.raises(UnsupportedTransfer, match=f"{source} to {target}: one end must be"):
            resolve(source, target, capabilities)
        return
    route = resolve(source, target, capabilities)
    assert [hop.strategy.name for hop in route.hops] == cell.split(">")
    assert (route.hops[0].source, route.hops[-1].target) == (source, target)
    assert route.needs_bounce == (">" in cell)
    for one, two in itertools.pairwise(route.hops):
        assert one.target is two.source is Place.PINNED


def test_null_memory_is_refused_on_either_side() -> None:
    for place in Place:
        for pair in ((place, Place.NULL), (Place.NULL, place)):
            with pytest.raises(IncompatibleTypes, match="null memory has no bytes") as caught:
                resolve(*pair, ALL)
            assert caught.value.kind is ErrorKind.UNSUPPORTED
            assert (caught.value.source, caught.value.target) == pair


def test_the_table_is_whole() -> None:
    assert TABLE.keys() == set(itertools.product(Place, Place))


def test_one_capability_changes_only_its_own_cells() -> None:
    def changed(capabilities: Capabilities) -> set[tuple[str, str]]:
        cells = list(itertools.product(list(Place)[:5], repeat=2))
        cells.remove((Place.REMOTE, Place.REMOTE))
        return {
            (one.value, two.value)
            for one, two in cells
            if resolve(one, two) != resolve(one, two, capabilities)
        }

    device = "Device"
    assert changed(Capabilities(gpu_direct_storage=True)) == {(device, "Disk"), ("Disk", device)}
    assert changed(Capabilities(gpu_rdma=True)) == {(device, "Remote"), ("Remote", device)}
    assert changed(Capabilities(pinned_bounce=True)) == {(device, "System"), ("System", device)}
    assert changed(Capabilities(peer_access=True)) == set()


def test_two_devices_are_reached_by_peer_copy_or_over_pinned_memory() -> None:
    device = Place.DEVICE
    assert resolve(device, device, ALL, same_device=False) == Route(
        (Hop(device, device, Strategy.PEER),)
    )
    staged = resolve(device, device, same_device=False)
    names = [hop.strategy.name for hop in staged.hops]
    assert names == ["DEVICE_TO_HOST", "HOST_TO_DEVICE"]
    assert BETWEEN_DEVICES.capability == "peer_access"


def test_a_route_says_how_it_goes() -> None:
    assert str(resolve(Place.DISK, Place.DEVICE)) == (
        "Disk to Pinned: read from disk, then Pinned to Device: asynchronous copy to the device"
    )
