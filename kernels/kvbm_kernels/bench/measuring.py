"""Measure cases: the device's time by events, the host's by its clock, and the ceilings.

What this is
    The device's time is the median of single runs between two events, after each turn has run
    once, and two runs at least, to warm up.
    Ours run as recorded graphs for it, so that no gap between launches is counted. The host's
    time is what a caller waits until one run is queued, without the waiting for its end.

    Ceilings are measured in the same run: one large copy of the driver for each way. A share of
    the ceiling is bytes read and written inside the device, and bytes moved over the bus.

Interface, as rules of use
    * A row holds only what was measured. What did not fit or was left out has no row.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kvbm_kernels import driver
from kvbm_kernels.bench.cases import Call, Case
from kvbm_kernels.bench.memory import Arena
from kvbm_kernels.dispatch import Way
from kvbm_kernels.launch import Gpu

WARM: Final = 2
SHORTEST: Final = 5
LONGEST: Final = 40
ENOUGH: Final = 0.03
"""Seconds of measuring after `SHORTEST` repetitions."""

Ceilings = dict[Way, float]
"""Bytes a second: read plus written inside the device, moved over the bus."""


@dataclass(frozen=True)
class Row:
    """What one case took."""

    operation: str
    method: str
    way: str
    tokens: int
    blocks: int
    bytes: int
    repetitions: int
    device_us: float
    host_us: float
    gigabytes_per_second: float
    share_of_ceiling: float


class Clock:
    """Two events of the driver."""

    def __init__(self) -> None:
        self._start, self._end = (driver.call("cuEventCreate", 0) for _ in range(2))

    def run(self, call: Call, stream: Any) -> tuple[float, float]:
        """Give (device, host) seconds of one run."""
        driver.call("cuEventRecord", self._start, driver.handle(stream))
        began = time.perf_counter()
        call(stream)
        host = time.perf_counter() - began
        driver.call("cuEventRecord", self._end, driver.handle(stream))
        driver.call("cuEventSynchronize", self._end)
        return driver.call("cuEventElapsedTime", self._start, self._end) / 1e3, host

    def median(self, calls: Sequence[Call], stream: Any) -> tuple[float, float, int]:
        """Give (device, host) seconds and how often it ran, going round the calls."""
        for call in [*calls, *calls][: max(WARM, len(calls))]:
            self.run(call, stream)
        device: list[float] = []
        host: list[float] = []
        began = time.perf_counter()
        while len(device) < LONGEST:
            if len(device) >= SHORTEST and time.perf_counter() - began > ENOUGH:
                break
            one, other = self.run(calls[len(device) % len(calls)], stream)
            device.append(one)
            host.append(other)
        return statistics.median(device), statistics.median(host), len(device)

    def close(self) -> None:
        """Give the events back."""
        driver.call("cuEventDestroy", self._start)
        driver.call("cuEventDestroy", self._end)


def ceilings(arena: Arena, stream: Any) -> Ceilings:
    """Measure one large copy for each way."""
    clock = Clock()
    found = {}
    for way, dst, src, factor in (
        (Way.INSIDE_DEVICE, arena.target, arena.source, 2),
        (Way.HOST_TO_DEVICE, arena.target, arena.pinned, 1),
        (Way.DEVICE_TO_HOST, arena.pinned, arena.source, 1),
    ):
        size = min(arena.device, arena.host, 2**30)
        copy = partial(driver.copy, dst, src, size)
        found[way] = factor * size / clock.median([copy], stream)[0]
    clock.close()
    return found


def measure(gpu: Gpu, case: Case, stream: Any, limits: Ceilings) -> Row:
    """Measure one case."""
    clock = Clock()
    if case.works:
        recordings = [gpu.record(works) for works in case.works]
        device, _, repetitions = clock.median([each.replay for each in recordings], stream)
        host = clock.median([partial(gpu.run, works) for works in case.works], stream)[1]
        for each in recordings:
            each.close()
    else:
        device, host, repetitions = clock.median(case.calls, stream)
    clock.close()
    moved = max(case.read, case.written)
    counted = case.read + case.written if case.way is Way.INSIDE_DEVICE else moved
    return Row(
        operation=case.operation,
        method=case.method,
        way=case.way.value,
        tokens=case.layout.shape.tokens,
        blocks=case.layout.count,
        bytes=moved,
        repetitions=repetitions,
        device_us=device * 1e6,
        host_us=host * 1e6,
        gigabytes_per_second=moved / device / 1e9,
        share_of_ceiling=counted / device / limits[case.way],
    )
