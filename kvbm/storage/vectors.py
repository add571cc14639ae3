"""Vectors: lists of buffers for one disk call, checked and cut to what a call can take.

What this is
    Direct disk access wants file offset, every address and every length in whole pages; the
    kernel answers anything else with one number, EINVAL, and too long a list likewise.
    Here the same rules are said in words, before the call.

Interface, as rules of use
    * need_aligned() first, then cut(). Neither moves a byte.
    * The rules hold for buffered files too, so that what works there works everywhere.

Clauses: KV-INT-05
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from kvbm.errors import InvalidStorageConfig
from kvbm.storage.base import Bytes
from kvbm.storage.pages import PAGE
from kvbm.storage.region import address_of

IOV_MAX: Final = os.sysconf("SC_IOV_MAX")
"""Buffers that one call takes."""

CALL_BYTES: Final = 1 << 30
"""Bytes that we ask one call for. The kernel moves at most 2 GiB less a page, silently."""


def need_buffers(buffers: Sequence[Bytes], *, writable: bool, name: str = "buffers") -> int:
    """Count the bytes of `buffers`, or raise `InvalidStorageConfig` for what is no buffer.

    Parameters
    ----------
    buffers : list of uint8[any length]
        Contiguous arrays.
    writable
        Whether bytes will be put into them.
    name
        What errors call the list.
    """
    for index, buffer in enumerate(buffers):
        field = f"{name}[{index}]"
        if not isinstance(buffer, np.ndarray) or buffer.dtype != np.uint8:
            raise InvalidStorageConfig(field, _shown(buffer), "must be an array of uint8")
        if not buffer.flags.c_contiguous:
            raise InvalidStorageConfig(field, _shown(buffer), "must be contiguous")
        if writable and not buffer.flags.writeable:
            raise InvalidStorageConfig(field, _shown(buffer), "is read-only")
    return sum(buffer.nbytes for buffer in buffers)


def need_aligned(offset: int, buffers: Sequence[Bytes], name: str = "buffers") -> None:
    """Raise `InvalidStorageConfig` where something is not in whole pages, and name it."""
    cure = f"must be a multiple of {PAGE} bytes; use memory of pages(), or a storage's bounce=True"
    if offset % PAGE:
        raise InvalidStorageConfig("offset", offset, cure)
    for index, buffer in enumerate(buffers):
        address = address_of(buffer)
        if address % PAGE:
            raise InvalidStorageConfig(f"{name}[{index}]", hex(address), f"its address {cure}")
        if buffer.nbytes % PAGE:
            raise InvalidStorageConfig(f"{name}[{index}]", buffer.nbytes, f"its length {cure}")


def cut(
    buffers: Sequence[Bytes], most_buffers: int = IOV_MAX, most_bytes: int = CALL_BYTES
) -> Iterator[list[Bytes]]:
    """Cut a list of buffers into lists that one call takes, in order, and without empty ones.

    Parameters
    ----------
    buffers : list of uint8[any length]
        May be of any length; long buffers are cut, too.
    most_buffers, most_bytes
        Limits of one list. A multiple of a page keeps all cuts aligned.

    Complexity
    ----------
    O(buffers + lists).

    Examples
    --------
    >>> import numpy as np
    >>> [[len(part) for part in call] for call in cut([np.empty(5, np.uint8)] * 2, 2, 4)]
    [[4], [1, 3], [2]]
    """
    call: list[Bytes] = []
    room = most_bytes
    for buffer in buffers:
        rest = buffer.reshape(-1)
        while rest.size:
            part, rest = rest[:room], rest[room:]
            call.append(part)
            room -= part.size
            if not room or len(call) == most_buffers:
                yield call
                call, room = [], most_bytes
    if call:
        yield call


def _shown(buffer: object) -> str:
    if isinstance(buffer, np.ndarray):
        return f"{buffer.dtype}{list(buffer.shape)}"
    return type(buffer).__name__
