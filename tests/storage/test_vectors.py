"""Lists of buffers: what is refused, and how they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidStorageConfig
from kvbm.storage import PAGE, pages
from kvbm.storage.vectors import CALL_BYTES, IOV_MAX, cut, need_aligned, need_buffers


@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(1, 5),
    st.integers(1, 30),
)
def test_cuts_keep_order_and_limits_and_lose_nothing(lengths, most_buffers, most_bytes) -> None:
    whole = np.arange(sum(lengths), dtype=np.uint8)
    buffers = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    calls = list(cut(buffers, most_buffers, most_bytes))
    assert b"".join(part.tobytes() for call in calls for part in call) == whole.tobytes()
    for call in calls:
        assert 1 <= len(call) <= most_buffers
        assert 1 <= sum(part.nbytes for part in call) <= most_bytes
        assert all(part.nbytes for part in call)
    for call in calls[:-1]:  # a call ends because it is full
        assert len(call) == most_buffers or sum(part.nbytes for part in call) == most_bytes


def test_parts_are_the_buffers_memory_and_no_copies() -> None:
    buffer = np.zeros(10, np.uint8)
    for call in cut([buffer], 1, 3):
        call[0][:] = 1
    assert buffer.all()


def test_limits_are_the_kernels_and_keep_pages_whole() -> None:
    assert IOV_MAX == 1024 or IOV_MAX >= 16
    assert CALL_BYTES % PAGE == 0
    assert CALL_BYTES < 0x7FFFF000


@pytest.mark.parametrize(
    ("buffer", "why"),
    [
        (bytearray(4), "bytearray.*must be an array of uint8"),
        (np.zeros(4, np.int8), r"int8\[4\].*must be an array of uint8"),
        (np.zeros(8, np.uint8)[::2], r"uint8\[4\].*must be contiguous"),
        (np.frombuffer(b"1234", np.uint8), "is read-only"),
    ],
)
def test_what_is_no_buffer_is_named_by_its_place(buffer, why) -> None:
    with pytest.raises(InvalidStorageConfig, match=rf"buffers\[1\] = .*{why}"):
        need_buffers([np.zeros(1, np.uint8), buffer], writable=True)


def test_a_read_only_buffer_can_be_written_from() -> None:
    assert need_buffers([np.frombuffer(b"1234", np.uint8)], writable=False) == 4


@pytest.mark.parametrize(
    ("offset", "start", "stop", "what"),
    [
        (1, 0, PAGE, "offset = 1"),
        (512, 0, PAGE, "offset = 512"),
        (PAGE, 1, PAGE + 1, r"buffers\[0\] = '0x[0-9a-f]*1': its address"),
        (PAGE, 0, PAGE - 1, r"buffers\[0\] = 4095: its length"),
    ],
)
def test_what_is_not_aligned_is_said_with_the_cure(offset, start, stop, what) -> None:
    with pytest.raises(
        InvalidStorageConfig, match=rf"{what}.*pages\(\), or a storage's bounce=True"
    ):
        need_aligned(offset, [pages(2 * PAGE)[start:stop]])


def test_whole_pages_are_fine() -> None:
    need_aligned(3 * PAGE, [pages(PAGE), pages(3 * PAGE)[PAGE:]])
