"""Packed files: one way to open plain, gzip and xz bytes, from a file or standard input.

What this is
    `opened` looks at the first bytes and unpacks what is packed. A file's name decides nothing.

Interface, as rules of use
    * A file that is cut off fails when it is read, with one of `READ_ERRORS`.
"""

from __future__ import annotations

import gzip
import lzma
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"

READ_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""All that reading on may raise when a packed file is damaged or cut off."""


@contextmanager
def opened(path: str | Path) -> Iterator[Iterable[bytes]]:
    """Open a file, or standard input for `-`, as lines of bytes. Raises OSError if it cannot."""
    if str(path) == "-":
        yield _unpacked(sys.stdin.buffer)
        return
    with Path(path).open("rb") as stream:
        yield _unpacked(stream)


def _unpacked(stream: Any) -> Iterable[bytes]:
    head = stream.peek(len(XZ_MAGIC))
    lines: Iterable[bytes] = stream
    if head.startswith(GZIP_MAGIC):
        lines = gzip.GzipFile(fileobj=stream)
    elif head.startswith(XZ_MAGIC):
        lines = lzma.LZMAFile(stream)  # noqa: SIM115 - `opened` closes the file beneath it
    return lines
