"""Records: the bytes in which an index tells its identity and one change.

What this is
    The form of an index file, and nothing about files:

        header    one line of JSON: the identity of the blocks
        records   flags u8, 3 unused, slot u32, position u32, priority u32,
                  hash, parent's hash, checksum 16 bytes, CRC u32; little-endian

    The CRC of a record goes on from that of the record before it, and that of the first
    from the header's. So a record is good in its place only: what is left of another
    journal, or of a write that failed, is never taken for the next record.

Interface, as rules of use
    * `header(identity)` gives the line, and equal lines are equal identities. `difference`
      says in words where two lines differ, for people.
    * `RecordForm(bits)` packs and reads bodies; `seal()` puts the CRCs behind them.
    * A block whose hash does not fit the form has no record: it is not kept.

Clauses: KV-PER-04, KV-ISO-06
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Final, NamedTuple, TypeAlias, final

from kvbm.blocks import SequenceHash

FORMAT: Final = "kvbm disk index"
VERSION: Final = 1

LONGEST_HEADER: Final = 256 * 1024
"""Bytes of a header. One of a ragged layout of 4,096 layers fits."""

CHECKSUM: Final = 16
"""Bytes of a block's checksum."""

CRC: Final = 4
"""Bytes of a record's own checksum."""

Identity: TypeAlias = Mapping[str, object]
"""All that must be equal for a block to mean the same, as JSON values by name."""


class KeptBlock(NamedTuple):
    """A block in a file: where it is, what it is, and how to tell that it still is."""

    slot: int
    name: SequenceHash
    parent: SequenceHash | None
    position: int
    priority: int
    checksum: bytes


class _Flag(IntFlag):
    STORED = 1  # else the slot was emptied, and the other fields are zero
    PARENT = 2
    BYTES = 4  # hashes are bytes, else integers


def header(identity: Identity) -> bytes:
    """Write the first line of an index."""
    whole = {"format": FORMAT, "version": VERSION, **identity}
    return json.dumps(whole, ensure_ascii=True).encode() + b"\n"


def difference(here: bytes, there: bytes) -> str:
    """Say in which field the header of another index differs from ours. For people."""
    ours = json.loads(here)
    try:
        theirs = json.loads(there)
    except (ValueError, RecursionError):
        theirs = None
    if not isinstance(theirs, dict):
        return "it does not begin as an index does"
    for name in (*ours, *theirs):
        if ours.get(name) != theirs.get(name) or (name in ours) != (name in theirs):
            return f"its {name} is {theirs.get(name)!r:.80}, and ours {ours.get(name)!r:.80}"
    return "it is written in another way"


@final
class RecordForm:
    """Records for hashes of `bits` bits."""

    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8
        self._body = struct.Struct(f"<B3xIII{self._bytes}s{self._bytes}s{CHECKSUM}s")
        self.size = self._body.size + CRC
        """Bytes of a record."""

    def stored(self, block: KeptBlock) -> bytes | None:
        """Pack a block; None if its hash or checksum has another length than all others."""
        slot, name, parent, position, priority, checksum = block
        flags = _Flag.STORED
        if parent is not None:
            flags |= _Flag.PARENT
        if isinstance(name, bytes):
            flags |= _Flag.BYTES
        try:
            packed = self._pack(name, flags)
            packed_parent = bytes(self._bytes) if parent is None else self._pack(parent, flags)
        except (OverflowError, TypeError, ValueError):
            return None
        if len(checksum) != CHECKSUM:
            return None
        return self._body.pack(flags, slot, position, priority, packed, packed_parent, checksum)

    def emptied(self, slot: int) -> bytes:
        """Pack the word that a slot holds its block no longer."""
        return self._body.pack(0, slot, 0, 0, b"", b"", b"")

    def read(self, body: bytes) -> KeptBlock | int:
        """Read a body: a block, or the slot that was emptied."""
        flags, slot, position, priority, name, parent, checksum = self._body.unpack(body)
        if not flags & _Flag.STORED:
            return int(slot)
        above = self._unpack(parent, flags) if flags & _Flag.PARENT else None
        return KeptBlock(slot, self._unpack(name, flags), above, position, priority, checksum)

    def seal(self, bodies: Sequence[bytes], crc: int) -> tuple[bytes, list[int]]:
        """Make records that follow one of `crc`; also give their own CRCs."""
        parts, crcs = [], []
        for body in bodies:
            crc = zlib.crc32(body, crc)
            parts += [body, crc.to_bytes(CRC, "little")]
            crcs.append(crc)
        return b"".join(parts), crcs

    def unseal(self, record: bytes, crc: int) -> tuple[bytes, int] | None:
        """Give body and CRC of a record that follows one of `crc`; None if it does not."""
        if len(record) != self.size:
            return None
        body = record[:-CRC]
        crc = zlib.crc32(body, crc)
        return (body, crc) if crc.to_bytes(CRC, "little") == record[-CRC:] else None

    def _pack(self, name: SequenceHash, flags: _Flag) -> bytes:
        if isinstance(name, bytes) != bool(flags & _Flag.BYTES):
            raise TypeError(name)
        if isinstance(name, int):
            return name.to_bytes(self._bytes, "little")
        if len(name) != self._bytes:
            raise ValueError(name)
        return name

    def _unpack(self, packed: bytes, flags: int) -> SequenceHash:
        return packed if flags & _Flag.BYTES else int.from_bytes(packed, "little")
