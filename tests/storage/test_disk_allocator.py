"""Files come, and go, and nothing is left of them: opening, room, names, locks, fallbacks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from kvbm.errors import AllocationFailed, ErrorKind, InvalidStorageConfig
from kvbm.storage import PAGE, DiskAllocator, pages
from kvbm.storage.disk_file import PREFIX


def refuse(monkeypatch, flag: int, code: int) -> None:
    """Let os.open fail with `code` whenever `flag` is asked for."""
    real = os.open

    def opened(path, flags, *arguments, **named):
        if flags & flag == flag:
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", opened)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def open_files(directory: Path) -> list[str]:
    """Give the files in a directory that this process has open, also those without a name."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    targets = [str(link.readlink()) for link in links]
    return [target for target in targets if target.startswith(str(directory))]


# ── where ─────────────────────────────────────────────────────────────────────────────────


def test_the_directory_is_the_argument_or_the_variable_or_that_of_temporary_files(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("DYN_KVBM_DISK_CACHE_DIR", raising=False)
    assert DiskAllocator().path == Path(tempfile.gettempdir())
    monkeypatch.setenv("DYN_KVBM_DISK_CACHE_DIR", str(tmp_path))
    assert DiskAllocator().path == tmp_path
    assert DiskAllocator("/").path == Path("/")
    with DiskAllocator().allocate(1):
        assert len(open_files(tmp_path)) == 1


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_path_that_is_no_directory_is_refused(tmp_path, name) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidStorageConfig, match=f"path = '.*{name}': must be a directory"):
        DiskAllocator(tmp_path / name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
def test_a_file_name_is_a_plain_name(tmp_path, name) -> None:
    with pytest.raises(InvalidStorageConfig, match="file_name"):
        DiskAllocator(tmp_path, persistent=True, file_name=name)


# ── temporary files ───────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-SHD-03")
@pytest.mark.parametrize("nameless", [True, False])
def test_a_temporary_file_has_room_and_no_name(tmp_path, monkeypatch, nameless) -> None:
    if not nameless:
        refuse(monkeypatch, os.O_TMPFILE, errno.EOPNOTSUPP)
    with DiskAllocator(tmp_path).allocate(10 * PAGE + 1) as storage:
        assert names(tmp_path) == []
        about = os.fstat(storage.storage_type.id)
        assert about.st_nlink == 0
        assert about.st_size == 11 * PAGE
        assert about.st_blocks * 512 >= 11 * PAGE
        assert about.st_mode & 0o777 == 0o600
        assert not os.get_inheritable(storage.storage_type.id)
        (name,) = open_files(tmp_path)
        assert (PREFIX in name) != nameless
    assert open_files(tmp_path) == []


@pytest.mark.clause("KV-SHD-03")
@pytest.mark.parametrize("nameless", [True, False])
def test_a_killed_process_leaves_nothing_behind(tmp_path, nameless) -> None:
    program = (
        "import os, sys\n"
        + ("" if nameless else "del os.O_TMPFILE\n")
        + "from kvbm.storage import DiskAllocator, pages\n"
        "storage = DiskAllocator(sys.argv[1]).allocate(1 << 20)\n"
        "storage.write(0, [pages(1 << 20)])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(  # noqa: S603  # our own program and interpreter
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert names(tmp_path) == []


# ── room ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A file system of 256 KiB."""
    directory = tmp_path_factory.mktemp("small")
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        pytest.skip(f"cannot mount a small file system: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)  # noqa: S603, S607


@pytest.mark.clause("KV-PER-05", "KV-CAP-01")
@pytest.mark.parametrize("persistent", [False, True])
def test_a_full_disk_is_an_error_at_the_start_and_keeps_nothing(small_disk, persistent) -> None:
    allocator = DiskAllocator(small_disk, persistent=persistent)
    with pytest.raises(AllocationFailed) as raised:
        allocator.allocate(1 << 20)
    text = str(raised.value)
    assert "Disk storage of 1048576 bytes" in text
    assert str(small_disk) in text
    assert "No space left on device; 262144 bytes are free there" in text
    assert raised.value.kind is ErrorKind.EXHAUSTED
    assert names(small_disk) == []
    assert open_files(small_disk) == []
    for _ in range(3):  # the room came back
        allocator.allocate(256 << 10).close()
        for left in small_disk.iterdir():
            left.unlink()


@pytest.mark.clause("KV-PER-05")
def test_a_persistent_file_that_cannot_grow_keeps_its_size_and_content(small_disk) -> None:
    allocator = DiskAllocator(small_disk, persistent=True)
    with allocator.allocate(16 * PAGE) as storage:
        storage.write(0, [pages(PAGE) + 1], bounce=True)
    with pytest.raises(AllocationFailed, match="No space left"):
        allocator.allocate(1 << 20)
    (path,) = small_disk.iterdir()
    assert path.read_bytes() == b"\1" * PAGE + bytes(15 * PAGE)
    path.unlink()


@pytest.mark.clause("KV-PER-05")
def test_room_that_was_taken_in_part_is_given_back(tmp_path, monkeypatch) -> None:
    """Some file systems have grown the file when they find that there is no room."""
    allocator = DiskAllocator(tmp_path, persistent=True)
    allocator.allocate(2 * PAGE).close()

    def half(descriptor: int, start: int, size: int) -> None:
        os.ftruncate(descriptor, start + size // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", half)
    with pytest.raises(AllocationFailed, match="No space left"):
        allocator.allocate(8 * PAGE)
    assert next(tmp_path.iterdir()).stat().st_size == 2 * PAGE


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EMFILE])
def test_any_refusal_to_open_is_an_allocation_that_failed(tmp_path, monkeypatch, code) -> None:
    refuse(monkeypatch, os.O_RDWR, code)
    with pytest.raises(AllocationFailed, match=os.strerror(code)):
        DiskAllocator(tmp_path).allocate(PAGE)
    with pytest.raises(AllocationFailed, match=os.strerror(code)):
        DiskAllocator(tmp_path, persistent=True).allocate(PAGE)
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
@pytest.mark.parametrize("persistent", [False, True])
def test_room_is_taken_by_writing_where_the_file_system_cannot_preallocate(
    tmp_path, monkeypatch, code, persistent
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    size = (2 << 20) + 3 * PAGE
    with DiskAllocator(tmp_path, persistent=persistent).allocate(size) as storage:
        about = os.fstat(storage.storage_type.id)
        assert about.st_size == size
        assert about.st_blocks * 512 >= size


@pytest.mark.clause("KV-PER-05")
def test_a_disk_that_gets_full_while_zeros_are_written_is_noticed(small_disk, monkeypatch) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    with pytest.raises(AllocationFailed, match="No space left"):
        DiskAllocator(small_disk).allocate(1 << 20)
    assert open_files(small_disk) == []


# ── direct access ─────────────────────────────────────────────────────────────────────────


def is_direct(storage) -> bool:
    flags = Path(f"/proc/self/fdinfo/{storage.storage_type.id}").read_text("ascii")
    octal = next(line.split()[1] for line in flags.splitlines() if line.startswith("flags"))
    return bool(int(octal, 8) & os.O_DIRECT)


def content_of(storage) -> bytes:
    content = pages(storage.size)
    storage.read(0, [content])
    return content.tobytes()


@pytest.mark.clause("KV-TIR-09")
def test_direct_and_buffered_files_are_equal_and_say_which_they_are(tmp_path, monkeypatch) -> None:
    random = np.random.default_rng(5)
    data = pages(8 * PAGE)
    data[:] = random.integers(0, 256, data.size, np.uint8)
    found = []
    for wanted in (True, False):
        if not wanted:
            refuse(monkeypatch, os.O_DIRECT, errno.EINVAL)
        with DiskAllocator(tmp_path).allocate(16 * PAGE) as storage:
            assert storage.direct == is_direct(storage)
            if not wanted:
                assert not storage.direct
            storage.write(PAGE, [data[PAGE : 3 * PAGE], data[:PAGE]])
            storage.write(5 * PAGE + 17, [data[3:5000]], bounce=True)
            storage.memset(9, 100, 50)
            found.append(content_of(storage))
    model = bytearray(16 * PAGE)
    model[PAGE : 4 * PAGE] = data[PAGE : 3 * PAGE].tobytes() + data[:PAGE].tobytes()
    model[5 * PAGE + 17 : 5 * PAGE + 17 + 4997] = data[3:5000].tobytes()
    model[100:150] = b"\t" * 50
    assert found == [model, model]


def test_direct_access_can_be_switched_off_by_argument_or_by_presence(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("DYN_KVBM_DISK_DISABLE_O_DIRECT", raising=False)
    with DiskAllocator(tmp_path).allocate(PAGE) as storage:
        here = storage.direct
    if not here:
        pytest.skip(f"the file system of {tmp_path} has no direct access to switch off")
    with DiskAllocator(tmp_path, direct=False).allocate(PAGE) as storage:
        assert not is_direct(storage)
    for value in ("1", "0", ""):  # whatever the value
        monkeypatch.setenv("DYN_KVBM_DISK_DISABLE_O_DIRECT", value)
        with DiskAllocator(tmp_path).allocate(PAGE) as storage:
            assert not is_direct(storage)
    with DiskAllocator(tmp_path, direct=True).allocate(PAGE) as storage:
        assert is_direct(storage)


def test_another_error_than_einval_is_no_reason_to_fall_back(tmp_path, monkeypatch) -> None:
    refuse(monkeypatch, os.O_DIRECT, errno.EIO)
    with pytest.raises(AllocationFailed, match="Input/output error"):
        DiskAllocator(tmp_path).allocate(PAGE)
    assert names(tmp_path) == []


# ── persistent files ──────────────────────────────────────────────────────────────────────


def test_a_persistent_file_is_found_again_with_its_content(tmp_path) -> None:
    allocator = DiskAllocator(tmp_path, persistent=True, file_name="cache")
    with allocator.allocate(4 * PAGE) as storage:
        assert not storage.existed
        storage.memset(3, 5, 10)
        storage.fdatasync()
    assert names(tmp_path) == ["cache"]
    with allocator.allocate(6 * PAGE) as storage:
        assert storage.existed
        assert content_of(storage) == bytes(5) + b"\3" * 10 + bytes(6 * PAGE - 15)


@pytest.mark.clause("KV-PER-07")
def test_a_larger_file_is_not_cut(tmp_path) -> None:
    allocator = DiskAllocator(tmp_path, persistent=True)
    allocator.allocate(4 * PAGE).close()
    with pytest.raises(AllocationFailed, match="has 16384 bytes; ask for as many, or remove it"):
        allocator.allocate(3 * PAGE)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == 4 * PAGE


def test_one_storage_at_a_time_has_a_persistent_file(tmp_path) -> None:
    allocator = DiskAllocator(tmp_path, persistent=True)
    with allocator.allocate(PAGE):
        with pytest.raises(AllocationFailed, match="is in use by another storage"):
            allocator.allocate(PAGE)
        assert len(open_files(tmp_path)) == 1
    allocator.allocate(PAGE).close()


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "kvbm-disk-cache").symlink_to(victim)
    with pytest.raises(AllocationFailed):
        DiskAllocator(tmp_path, persistent=True).allocate(PAGE)
    assert victim.read_bytes() == b"precious"


def test_a_file_that_was_cut_off_within_a_page_keeps_what_it_has(tmp_path, monkeypatch) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    path = tmp_path / "kvbm-disk-cache"
    for fallocates in (True, False):
        if not fallocates:
            monkeypatch.setattr(os, "posix_fallocate", cannot)
        for size in (PAGE, 2 * PAGE):
            path.write_bytes(b"\7" * 100)
            with DiskAllocator(tmp_path, persistent=True).allocate(size) as storage:
                assert content_of(storage) == b"\7" * 100 + bytes(size - 100)
