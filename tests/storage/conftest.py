"""What the tests of this room share: disks that fail on a plan, and counts of what is held."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from kvbm.storage import DiskCalls


class FaultyDisk:
    """The two calls, as the kernel has them, until a plan says otherwise.

    `plan` sees (operation, offset) and gives None for a call that works, an errno, or a
    function of (call, descriptor, buffers, offset) that stands in for the call.
    """

    def __init__(self) -> None:
        self.plan: Callable[[str, int], object] = lambda _operation, _offset: None
        self.log: list[tuple[str, int, int, int]] = []
        self.calls = DiskCalls(self._wrap("read", os.preadv), self._wrap("write", os.pwritev))

    def _wrap(self, operation: str, call: Callable[..., int]) -> Callable[..., int]:
        def wrapped(descriptor: int, buffers: Sequence[np.ndarray], offset: int) -> int:
            size = sum(buffer.nbytes for buffer in buffers)
            self.log.append((operation, offset, size, len(buffers)))
            what = self.plan(operation, offset)
            if what is None:
                return call(descriptor, buffers, offset)
            if isinstance(what, int):
                raise OSError(what, os.strerror(what))
            return what(call, descriptor, buffers, offset)

        return wrapped

    @staticmethod
    def short(call: Callable[..., int], descriptor: int, buffers: list, offset: int) -> int:
        """Move the first buffer only, or half of it if it is the only one."""
        first = buffers[0] if len(buffers) > 1 else buffers[0][: len(buffers[0]) // 8192 * 4096]
        return call(descriptor, [first], offset)


@pytest.fixture
def faulty() -> FaultyDisk:
    return FaultyDisk()


class Stuck:
    """A stand-in for a call that does not return before it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.inside = threading.Semaphore(0)

    def __call__(self, call, descriptor, buffers, offset) -> int:
        self.inside.release()
        assert self.go.wait(20)
        return call(descriptor, buffers, offset)


@pytest.fixture
def stuck():
    made = Stuck()
    yield made
    made.go.set()


@pytest.fixture
def held() -> Callable[[], Counter[str]]:
    """Count what this process holds of the machine: descriptors, threads, shared mappings."""

    def count() -> Counter[str]:
        gc.collect()
        maps = Path("/proc/self/maps").read_text("ascii").splitlines()
        return Counter(
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
            threads=threading.active_count(),
            mappings=sum("/dev/zero" in line for line in maps),
        )

    return count
