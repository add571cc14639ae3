"""Page-aligned memory, and what pinning gets on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import AllocationFailed, StorageError
from kvbm.storage import PAGE, PinnedStorage, SystemAllocator, pages, pinned
from kvbm.storage.pages import up_to_page


@given(st.integers(1, 100_000))
def test_pages_are_zeroed_aligned_and_of_the_size_asked_for(size) -> None:
    array = pages(size)
    assert array.size == size
    assert array.ctypes.data % PAGE == 0
    assert not array.any()
    assert array.flags.writeable
    assert 0 <= up_to_page(size) - size < PAGE
    assert up_to_page(size) % PAGE == 0


@pytest.mark.parametrize("size", [1 << 60, 1 << 70])
def test_more_than_there_is_is_a_memory_error_that_names_the_size(size) -> None:
    with pytest.raises(AllocationFailed, match=f"System storage of {size} bytes") as raised:
        SystemAllocator().allocate(size)
    assert isinstance(raised.value, MemoryError)
    assert isinstance(raised.value, StorageError)
    assert raised.value.size == size


def test_memory_is_shared_with_a_child_so_that_a_fork_moves_no_page() -> None:
    array = pages(PAGE)
    child = os.fork()
    if not child:
        array[0] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert array[0] == 1


def mappings(address: int) -> list[str]:
    """Give the lines of smaps of the mapping that holds an address."""
    lines: list[str] = []
    inside = False
    for line in Path("/proc/self/smaps").read_text("ascii").splitlines():
        head = line.split(maxsplit=1)[0]
        if "-" in head and not head.endswith(":"):
            start, stop = (int(part, 16) for part in head.split("-"))
            inside = start <= address < stop
        if inside:
            lines.append(line)
    return lines


def test_pinned_memory_is_what_it_says() -> None:
    with PinnedStorage(5 * PAGE) as storage:
        assert storage.is_locked == storage.how.startswith("locked")
        flags = next(line for line in mappings(storage.addr) if line.startswith("VmFlags"))
        assert (" lo" in flags) == storage.is_locked


def test_the_lock_ends_with_the_storage_even_if_an_array_lives_on() -> None:
    storage = PinnedStorage(5 * PAGE)
    array, address = storage.array(), storage.addr
    storage.close()
    flags = next(line for line in mappings(address) if line.startswith("VmFlags"))
    assert " lo" not in flags
    array[:] = 1


def test_large_pinned_memory_asks_for_huge_pages() -> None:
    with PinnedStorage(4 << 20) as large, PinnedStorage(PAGE) as small:
        flags = [
            next(line for line in mappings(each.addr) if line.startswith("VmFlags"))
            for each in (large, small)
        ]
    if not Path("/sys/kernel/mm/transparent_hugepage").is_dir():
        pytest.skip("this kernel has no huge pages to ask for")
    assert [" hg" in each for each in flags] == [True, False]


@pytest.mark.clause("KV-TIR-09")
def test_a_refused_lock_is_no_error_and_is_said() -> None:
    """A process without rights, and with a limit of nothing: the real refusal."""
    program = (
        "import os, resource\n"
        "from kvbm.storage import PinnedStorage\n"
        "PinnedStorage(1).close()\n"  # imports what it needs while it may read it
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "os.getuid() or os.setuid(65534)\n"
        "with PinnedStorage(8192) as storage:\n"
        "    storage.memset(3, 0, 8192)\n"
        "    print(storage.is_locked, int(storage.array().sum()), storage.how)\n"
    )
    done = subprocess.run(  # noqa: S603  # our own program and interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("False 24576 page-aligned only: mlock was refused")
    assert "the limit is 0 bytes" in done.stdout


def test_a_system_without_mlock_is_said(monkeypatch) -> None:
    monkeypatch.setattr(pinned.ctypes, "CDLL", lambda *_, **__: object())
    with PinnedStorage(PAGE) as storage:
        assert (storage.is_locked, "has no mlock" in storage.how) == (False, True)


def test_more_than_is_left_is_refused_before_the_kernel_is_asked(monkeypatch) -> None:
    monkeypatch.setattr(pinned, "available_memory", lambda: PAGE)
    with pytest.raises(AllocationFailed, match="only 4096 bytes are left"):
        PinnedStorage(PAGE + 1)
    PinnedStorage(PAGE).close()


def test_available_memory_is_a_number_of_this_machine(monkeypatch) -> None:
    available = pinned.available_memory()
    assert available is not None
    assert 0 < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(Path, "read_text", lambda *_: "nothing\n")
    assert pinned.available_memory() is None


def test_an_array_of_pages_keeps_its_memory() -> None:
    view = pages(PAGE)[10:20].reshape(2, 5)
    view[:] = 4
    assert np.array_equal(view, np.full((2, 5), 4))
