"""The trials of disks kill what is broken: two tiny right stores, and ways to break them.

Each mutant says which clause must be named.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import pickle
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import pytest
from kvbm_spec.explore import Findings
from kvbm_spec.persistence import DiskCapabilities, Identity
from kvbm_spec.subject import Capabilities, Key, SubjectError
from kvbm_spec.trials import crash, disks, restart, spoiled

from kvbm.cli.subject import KvbmSubject
from kvbm.cli.subject import disk as adapter
from kvbm.config import DiskPersistence

MODULES = (crash, restart, spoiled)
TRIALS = [trial for module in MODULES for trial in module.TRIALS]
CHECKS = {clause: check for module in MODULES for clause, check in module.CHECKS.items()}


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


def judged(subject, *clauses: str, effort: str = "ci") -> Findings:
    findings = Findings()
    for trial in TRIALS:
        if not clauses or set(clauses) & set(trial.clauses):
            findings.merge(trial.run(subject, effort))
    return findings


# ── what is right ─────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-01", "KV-PER-02", "KV-PER-03", "KV-PER-04", "KV-PER-05", "KV-PER-06")
@pytest.mark.clause("KV-PER-07", "KV-INT-03", "KV-INT-04", "KV-ISO-06")
@pytest.mark.parametrize(
    ("subject", "effort"),
    [
        (StoreSubject(Store, ("store", "close", "kill")), "ci"),
        (StoreSubject(Log), "ci"),
        (StoreSubject(Log), "smoke"),
        (KvbmSubject(), "smoke"),
    ],
    ids=["store", "log", "log, smoke", "kvbm"],
)
def test_what_is_right_passes_and_every_situation_is_met(subject, effort):
    findings = judged(subject, effort=effort)
    assert not findings.failures, [
        (failure.verdict, *map(str, failure.steps[-12:])) for failure in findings.failures.values()
    ]
    wanted = {name for check in CHECKS.values() for name in check.situations}
    assert not [name for name in wanted if not findings.situations[name]]


def test_no_folder_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(disks, "_MEMORY", tmp_path)
    made = []
    real = tempfile.TemporaryDirectory
    monkeypatch.setattr(
        tempfile, "TemporaryDirectory", lambda **options: made.append(options) or real(**options)
    )
    assert judged(StoreSubject(DiesWhenFull), effort="smoke").failures
    assert {options["dir"] for options in made} == {tmp_path}
    assert list(tmp_path.iterdir()) == []


def test_code_that_one_subject_has_run_is_not_held_against_the_next():
    assert judged(StoreSubject(Pickled), "KV-ISO-06").failures
    assert not judged(StoreSubject(Store), "KV-ISO-06").failures


# ── what says nothing ─────────────────────────────────────────────────────────────────────


class Forgets(Store):
    """Nothing is there again, which is allowed, and shows nothing."""

    def recover(self):
        pass


class Mapped(Store):
    """Writes are not seen: they go through a memory map."""

    def write(self, slot, data):
        with mmap.mmap(self.descriptor, self.slots * self.block_bytes) as memory:
            memory[slot * self.block_bytes : (slot + 1) * self.block_bytes] = data
            memory.flush()


@pytest.mark.parametrize("store", [Forgets, Mapped])
def test_a_subject_that_shows_nothing_is_vacuous_and_not_right(store):
    findings = judged(StoreSubject(store, ()), "KV-PER-02")
    assert not findings.failures
    assert not findings.situations["recovered a block"]


def test_a_subject_without_checksums_is_not_asked_to_find_flipped_bytes():
    subject = StoreSubject(NoChecksum)
    subject.disk = lambda: DiskCapabilities(checksums=False)
    assert "KV-INT-03" not in judged(subject, "KV-INT-03").failures


@pytest.mark.clause("KV-PER-02")
@pytest.mark.parametrize("promise", ["store", "close", "kill"])
def test_what_is_owed_is_what_was_promised(promise):
    """Without any sync a process can be killed; with one at the end it can be closed."""
    keeps = {"store": Store, "close": SyncsAtClose, "kill": NeverSyncs}
    for promised, store in keeps.items():
        failures = judged(StoreSubject(store, [promise]), "KV-PER-02").failures
        weaker = promised in (promise, "store") or promise == "kill"
        assert ("KV-PER-02" not in failures) == weaker, (store, promise, failures)
    assert "KV-PER-02" in judged(StoreSubject(Forgets, [promise]), "KV-PER-02").failures
    kept_back = judged(StoreSubject(IndexAtClose, [promise]), "KV-PER-02").failures
    assert ("KV-PER-02" in kept_back) == (promise != "close")


# ── our own disk, broken ──────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-02")
@pytest.mark.parametrize("broken", ["sync", "promise"])
def test_our_own_disk_is_found_out_when_it_promises_too_much(monkeypatch, broken):
    monkeypatch.setattr(crash, "LIMITS", {"ci": (100, 1)})
    subject = KvbmSubject()
    if broken == "sync":
        monkeypatch.setattr(adapter, "DiskPersistence", partial(DiskPersistence, sync=False))
    else:
        subject.disk = lambda: replace(KvbmSubject().disk(), promises=("store",))
    findings = crash.TRIALS[0].run(subject, "ci")
    assert list(findings.failures) == ["KV-PER-02"]
    assert "was complete and promised" in findings.failures["KV-PER-02"].verdict.what


# ── what is broken ────────────────────────────────────────────────────────────────────────


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


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_every_mutant_is_killed_by_the_clause_that_it_breaks(mutant):
    clause = MUTANTS[mutant]
    findings = judged(StoreSubject(mutant), clause)
    assert clause in findings.failures, list(findings.failures)
    failure = findings.failures[clause]
    (trial,) = (trial for trial in TRIALS if trial.name == failure.trial)
    again = trial.replay(StoreSubject(mutant), json.loads(json.dumps(failure.program)))
    assert again is not None
    assert again.clause == clause
    assert again.verdict == failure.verdict
