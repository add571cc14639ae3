"""Stores that are wrong, each in one way, with the clause that it breaks."""

from __future__ import annotations

import json
import os
import pickle

from kvbm_spec.subject import Key, SubjectError
from toy_store import Log, Store, digest


class NoDataSync(Store):
    """The bytes of a block are not synced before the index names it."""

    def write(self, slot, data):
        os.pwrite(self.descriptor, data, slot * self.block_bytes)


class NoIndexSync(Store):
    """The index is renamed before its bytes are on the disk."""

    def replace(self, data):
        fresh = self.folder / "index.new"
        fresh.write_bytes(data)
        fresh.replace(self.folder / "index")
        self.sync_folder()


class NoFolderSync(Store):
    """The rename itself is never synced."""

    def sync_folder(self):
        pass


class NoLogSync(Log):
    """Records are written and not synced."""

    def changed(self, key):
        real, os.fsync = os.fsync, lambda _: None
        try:
            super().changed(key)
        finally:
            os.fsync = real


class IndexInPlace(Store):
    """The index is written over itself."""

    def replace(self, data):
        with (self.folder / "index").open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


class IndexAtClose(Store):
    """The index is kept in memory until the end."""

    def changed(self, key):
        pass

    def close(self):
        if self.descriptor is not None:
            self.replace(self.packed())
        super().close()


class NeverSyncs(NoIndexSync):
    """Nothing is ever synced, which a process that is killed does not notice."""

    def write(self, slot, data):
        os.pwrite(self.descriptor, data, slot * self.block_bytes)

    def sync_folder(self):
        pass


class SyncsAtClose(NoLogSync):
    """Everything is synced once, at the end; what an earlier end has made sure of stays."""

    def write(self, slot, data):
        os.pwrite(self.descriptor, data, slot * self.block_bytes)

    def close(self):
        if self.descriptor is not None:
            os.fsync(self.descriptor)
            os.fsync(self.log)
        super().close()


class Invents(Store):
    """A key that nobody has stored is found, though never read."""

    def recover(self):
        super().recover()
        if (self.folder / "index").exists():
            self.index[9] = 0, "nothing has this digest"


class NoChecksum(Store):
    """Bytes are given as they are found."""

    def good(self, data, wanted):
        del data, wanted
        return True


class IndexFirst(NoChecksum):
    """The index names a block whose bytes are still to come."""

    def put(self, key, data):
        real, self.write = self.write, lambda *_: None
        super().put(key, data)
        del self.write
        real(self.index[key][0], data)


class NoSyncNoChecksum(NoDataSync, NoChecksum):
    """Nothing tells whether the bytes have arrived."""


class SlotUsedAgain(NoChecksum):
    """A victim stays in the index until its slot has other bytes."""

    def put(self, key, data):
        real, self.changed = self.changed, lambda _: None
        while len(self.index) >= self.slots:
            self.remove([next(iter(self.index))])
        self.changed = real
        super().put(key, data)


class TornRecord(Log):
    """A record is taken as it is found."""

    def sealed(self, body, crc):
        del body, crc
        return True

    def good(self, data, wanted):
        del data, wanted
        return True


class ForgetsRemovals(Log):
    """Removals are not written down."""

    def remove(self, keys):
        for key in keys:
            self.index.pop(key, None)

    def good(self, data, wanted):
        del data, wanted
        return True


class RecoversInPlace(Store):
    """Opening writes the index again, over itself."""

    def recover(self):
        super().recover()
        with (self.folder / "index").open("wb") as file:
            file.write(self.packed())
            file.flush()
            os.fsync(file.fileno())


class RecoversByRemoving(Store):
    """Opening takes the index away, and the first change brings it back."""

    def recover(self):
        super().recover()
        if (self.folder / "index").exists():
            (self.folder / "index").unlink()
            self.sync_folder()


class DropsOne(Store):
    """Each opening forgets a block."""

    def recover(self):
        super().recover()
        if self.index:
            self.remove([max(self.index)])


class NoIdentity(Store):
    """What another model has left is as good."""

    def load(self, content):
        super().load([self.identity, content[1]])


class ModelAlone(Store):
    """Only the model's name is compared."""

    def load(self, content):
        same = content[0][0] == self.identity[0]
        super().load([self.identity if same else None, content[1]])


class ShowsOthers(Store):
    """Blocks of another model are hits, and then misses."""

    def load(self, content):
        found = content[0] == self.identity
        pairs = content[1] if found else [(key, (slot, "")) for key, (slot, _) in content[1]]
        super().load([self.identity, pairs])


class HidesOlder(Store):
    """Blocks of an older model are no hits, and can be read until something is stored."""

    hidden: frozenset[Key] = frozenset()

    def load(self, content):
        older = content[0][0] < self.identity[0]
        super().load([self.identity if older else content[0], content[1]])
        self.hidden = frozenset(self.index if older else ())

    def keys(self):
        return super().keys() - self.hidden

    def store(self, blocks):
        self.remove(sorted(self.hidden))
        super().store(blocks)


class KeepsItsHeader(Store):
    """The identity in the index is that of who came first."""

    def load(self, content):
        super().load(content)
        self.identity = content[0]


class NoLimit(Store):
    """What was there before is kept, however many slots there are."""

    def load(self, content):
        slots, self.slots = self.slots, 99
        super().load(content)
        self.slots = slots


class OtherFiles(Store):
    """Every opening begins another file, and the old ones stay."""

    def __init__(self, folder, slots, identity):
        number = len(list(folder.glob("blocks*")))
        super().__init__(folder, slots, identity)
        os.close(self.descriptor)
        self.descriptor = os.open(folder / f"blocks{number}", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.descriptor, slots * self.block_bytes)


class DiesWhenFull(Store):
    """An error of the disk goes to the caller."""

    def store(self, blocks):
        for key, data in blocks.items():
            self.put(key, data)


class CountsNothing(Store):
    """Blocks are skipped, and nobody knows."""

    def failed(self):
        return 0


class GivesUp(Store):
    """After one error nothing is stored any more."""

    def store(self, blocks):
        if not self.errors:
            super().store(blocks)


class DiesWhenItReads(Store):
    """An error of a read goes to the caller."""

    def load_slot(self, slot):
        return os.pread(self.descriptor, self.block_bytes, slot * self.block_bytes)


class BelievesTheDisk(Store):
    """A block counts as stored although its write has failed."""

    def write(self, slot, data):
        try:
            super().write(slot, data)
        except OSError:
            self.errors += 1

    def good(self, data, wanted):
        del data, wanted
        return True


class TrustsTheIndex(Store):
    """An index that cannot be read is an error."""

    def recover(self):
        if (self.folder / "index").exists():
            self.take((self.folder / "index").read_bytes())

    def take(self, data):
        self.load(json.loads(data[32:]))


class NeedsItsFile(Store):
    """A file of blocks that is too short is an error."""

    def __init__(self, folder, slots, identity):
        file = folder / "blocks"
        if file.exists() and file.stat().st_size % 1024:
            raise ValueError(file.name)
        super().__init__(folder, slots, identity)


class StopsWhenSpoiled(Store):
    """With an index that cannot be read, nothing is stored any more."""

    def take(self, data):
        super().take(data)
        self.errors = int(digest(data[32:]).encode() != data[:32])

    def store(self, blocks):
        if not self.errors:
            super().store(blocks)


class RaisesWhenCorrupt(Store):
    """A block whose checksum does not hold is an error."""

    def miss(self, key):
        raise ValueError(key)


class RefusesWhenCorrupt(Store):
    """The same, politely."""

    def miss(self, key):
        raise SubjectError("Corrupt", f"K{key}")


class StaysBad(Store):
    """A block that was found to be bad is a hit for ever."""

    def miss(self, key):
        pass


class Pickled(Store):
    """The index is a pickle."""

    def packed(self):
        return pickle.dumps([self.identity, list(self.index.items())])

    def take(self, data):
        try:
            self.load(pickle.loads(data))  # noqa: S301 - it is what the mutant is about
        except Exception:  # noqa: BLE001 - garbage is a miss
            self.index = {}


class NoLimitOfNesting(Store):
    """The index is parsed before it is checked, and only some errors are expected."""

    def take(self, data):
        json.loads(data if data[:1] in b"[{" else data[32:])
        super().take(data)


class ModelAsPath(Store):
    """The model's name is part of a path."""

    def __init__(self, folder, slots, identity):
        (folder / identity.model).mkdir(exist_ok=True)
        super().__init__(folder, slots, identity)


MUTANTS = {
    NoDataSync: "KV-PER-02",
    NoIndexSync: "KV-PER-02",
    NoFolderSync: "KV-PER-02",
    NoLogSync: "KV-PER-02",
    IndexInPlace: "KV-PER-02",
    IndexAtClose: "KV-PER-02",
    NoChecksum: "KV-INT-03",
    IndexFirst: "KV-PER-01",
    NoSyncNoChecksum: "KV-PER-01",
    Invents: "KV-PER-02",
    SlotUsedAgain: "KV-PER-02",
    TornRecord: "KV-PER-02",
    ForgetsRemovals: "KV-PER-02",
    RecoversInPlace: "KV-PER-03",
    RecoversByRemoving: "KV-PER-03",
    DropsOne: "KV-PER-03",
    NoIdentity: "KV-PER-04",
    ModelAlone: "KV-PER-04",
    ShowsOthers: "KV-PER-04",
    HidesOlder: "KV-PER-04",
    KeepsItsHeader: "KV-PER-04",
    NoLimit: "KV-PER-07",
    OtherFiles: "KV-PER-07",
    DiesWhenFull: "KV-PER-05",
    CountsNothing: "KV-PER-05",
    GivesUp: "KV-PER-05",
    DiesWhenItReads: "KV-PER-05",
    BelievesTheDisk: "KV-PER-05",
    TrustsTheIndex: "KV-PER-06",
    NeedsItsFile: "KV-PER-06",
    StopsWhenSpoiled: "KV-PER-06",
    RaisesWhenCorrupt: "KV-INT-04",
    RefusesWhenCorrupt: "KV-INT-04",
    StaysBad: "KV-INT-04",
    Pickled: "KV-ISO-06",
    NoLimitOfNesting: "KV-ISO-06",
    ModelAsPath: "KV-ISO-06",
}
