"""Two small stores of blocks in files that are right, and their subject."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from kvbm_spec.persistence import DiskCapabilities, Identity
from kvbm_spec.subject import Capabilities, Key, SubjectError


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


class Store:
    """Blocks in the slots of one file, and an index that is replaced as a whole."""

    def __init__(self, folder: Path, slots: int, identity: Identity) -> None:
        self.folder, self.slots, self.errors = folder, slots, 0
        self.identity = list(astuple(identity))
        self.block_bytes = 256 * identity.block_size
        self.index: dict[Key, tuple[int, str]] = {}  # slot and digest, the oldest first
        self.descriptor: int | None = os.open(folder / "blocks", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.descriptor, slots * self.block_bytes)
        self.recover()

    # ── the calls ─────────────────────────────────────────────────────────────────────────

    def store(self, blocks: Mapping[Key, bytes]) -> None:
        for key, data in blocks.items():
            try:
                self.put(key, data)
            except OSError:
                self.index.pop(key, None)
                self.errors += 1

    def keys(self) -> set[Key]:
        return set(self.index)

    def read(self, key: Key) -> bytes | None:
        if key not in self.index:
            return None
        slot, wanted = self.index[key]
        data = self.load_slot(slot)
        return data if self.good(data, wanted) else self.miss(key)

    def remove(self, keys: Sequence[Key]) -> None:
        for key in keys:
            if self.index.pop(key, None):
                self.changed(key)

    def failed(self) -> int:
        return self.errors

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    # ── the steps ─────────────────────────────────────────────────────────────────────────

    def put(self, key: Key, data: bytes) -> None:
        while len(self.index) >= self.slots:
            self.remove([next(iter(self.index))])
        taken = {slot for slot, _ in self.index.values()}
        slot = min(set(range(self.slots)) - taken)
        self.write(slot, data)
        self.index[key] = slot, digest(data)
        self.changed(key)

    def write(self, slot: int, data: bytes) -> None:
        os.pwrite(self.descriptor, data, slot * self.block_bytes)
        os.fdatasync(self.descriptor)

    def load_slot(self, slot: int) -> bytes:
        try:
            return os.pread(self.descriptor, self.block_bytes, slot * self.block_bytes)
        except OSError:
            return b""

    def good(self, data: bytes, wanted: str) -> bool:
        return digest(data) == wanted

    def miss(self, key: Key) -> None:
        self.remove([key])

    def changed(self, key: Key) -> None:
        """Make the index on the disk the one in memory."""
        del key
        self.replace(self.packed())

    def replace(self, data: bytes) -> None:
        fresh = self.folder / "index.new"
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.folder / "index")
        self.sync_folder()

    def sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def packed(self) -> bytes:
        text = json.dumps([self.identity, list(self.index.items())]).encode()
        return digest(text).encode() + text

    def recover(self) -> None:
        try:
            with (self.folder / "index").open("rb") as file:
                self.take(file.read(1 << 20))
        except (OSError, ValueError):
            return

    def take(self, data: bytes) -> None:
        if digest(data[32:]).encode() == data[:32]:
            self.load(json.loads(data[32:]))

    def load(self, content: list) -> None:
        identity, pairs = content
        if identity == self.identity:
            self.index = {key: (slot, d) for key, (slot, d) in pairs if slot < self.slots}


class Log(Store):
    """The same, with an index to which records are appended, each with a sum that goes on."""

    FORM = struct.Struct("<qq32s")

    def recover(self) -> None:
        header = json.dumps(self.identity).encode() + b"\n"
        self.crc, self.end, data = zlib.crc32(header), len(header), b""
        try:
            with (self.folder / "index").open("rb") as file:
                data = file.read(1 << 20)
        except OSError:
            pass
        if not data.startswith(header):
            self.replace(header)
        else:
            size = self.FORM.size
            while self.take_record(data[self.end :][:size], data[self.end :][size : size + 4]):
                pass
        self.log = os.open(self.folder / "index", os.O_RDWR)

    def take_record(self, body: bytes, crc: bytes) -> bool:
        if len(crc) < 4 or not self.sealed(body, crc):
            return False
        key, slot, wanted = self.FORM.unpack(body)
        self.crc, self.end = zlib.crc32(body, self.crc), self.end + self.FORM.size + 4
        self.index.pop(key, None)
        if 0 <= slot < self.slots:
            for other in [k for k, (s, _) in self.index.items() if s == slot]:
                del self.index[other]
            self.index[key] = slot, wanted.decode("ascii", "replace")
        return True

    def sealed(self, body: bytes, crc: bytes) -> bool:
        return zlib.crc32(body, self.crc).to_bytes(4, "little") == crc

    def changed(self, key: Key) -> None:
        slot, wanted = self.index.get(key, (-1, ""))
        body = self.FORM.pack(key, slot, wanted.encode())
        crc = zlib.crc32(body, self.crc)
        os.pwrite(self.log, body + crc.to_bytes(4, "little"), self.end)
        os.fsync(self.log)
        self.crc, self.end = crc, self.end + self.FORM.size + 4

    def remove(self, keys: Sequence[Key]) -> None:
        try:
            super().remove(keys)
        except OSError:
            self.errors += 1

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.log)
        super().close()


class StoreSubject:
    """A store as a subject. It has no pool."""

    name, version, spec_version = "store", "1", "1.0"

    def __init__(self, store: type[Store], promises: Sequence[str] = ("store",)) -> None:
        self.made, self.promises = store, tuple(promises)

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def open(self, config, env):
        del config, env
        raise SubjectError("Unsupported")

    def disk(self) -> DiskCapabilities:
        return DiskCapabilities(promises=self.promises)

    def open_disk(self, folder, slots, identity, env) -> Store:
        del env
        return self.made(folder, slots, identity)
