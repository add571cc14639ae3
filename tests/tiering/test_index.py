"""The index of a persistent disk: crashes at every step, bad bytes, full disks."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import os
import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.tiering import index as index_module
from kvbm.tiering.index import BlockIndex, IndexCalls
from kvbm.tiering.records import LONGEST_HEADER, KeptBlock, RecordForm, difference, header

IDENTITY = {"model": "a", "dtype": "FP16", "page_size": 16}


def checksum(name):
    return hashlib.sha256(repr(name).encode()).digest()[:16]


def block(slot, name, parent=None, position=0, priority=0):
    return KeptBlock(slot, name, parent, position, priority, checksum(name))


def opened(path, identity=IDENTITY, *, slots=8, bits=64, **options):
    made = BlockIndex(path, identity, bits=bits, slots=slots, **options)
    made._check()
    return made


def recovered(path, **options):
    made = opened(path, **options)
    made.close()
    return made.blocks()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.index"


@pytest.fixture
def short(monkeypatch):
    """Rewrite often."""
    monkeypatch.setattr(index_module, "SLACK", 4)
    monkeypatch.setattr(index_module, "DEAD_PER_LIVE", 1)


def filled(path, count=4, **options):
    made = opened(path, **options)
    for slot in range(count):
        made.store([block(slot, 100 + slot, parent=99 + slot, position=slot, priority=slot)])
    return made


# ── what it keeps ─────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-03")
def test_what_was_stored_and_not_removed_comes_back_in_that_order(path):
    made = filled(path)
    made.remove([101, 555])
    made.store([block(1, 7), block(0, 8)])  # slot 0 has a new tenant
    made.close()
    expected = [
        block(2, 102, 101, 2, 2),
        block(3, 103, 102, 3, 3),
        block(1, 7),
        block(0, 8),
    ]
    before = path.read_bytes()
    assert recovered(path) == recovered(path) == expected
    assert path.read_bytes() == before, "looking changes nothing"


def test_the_newest_of_two_slots_with_one_hash_counts(path):
    made = opened(path)
    made.store([block(0, 5), block(3, 5)])
    made._check()
    made.close()
    assert recovered(path) == [block(3, 5)]


@pytest.mark.parametrize(
    ("bits", "names"),
    [(64, [0, 2**64 - 1]), (128, [0, 2**128 - 1]), (256, [b"\x00" * 32, b"\xff" * 32, 2**256 - 1])],
)
def test_a_hash_of_any_scheme_comes_back_as_it_was(path, bits, names):
    made = opened(path, bits=bits)
    blocks = [block(slot, name, parent=name) for slot, name in enumerate(names)]
    made.store(blocks)
    made.close()
    assert recovered(path, bits=bits) == blocks


def test_a_hash_that_does_not_fit_is_not_kept_and_nothing_else_suffers(path):
    made = opened(path, bits=256)
    odd = [block(0, b"short"), block(1, b"x" * 32, parent=5), block(2, -1), block(3, 2**256)]
    made.store([*odd, block(4, 9)._replace(checksum=b""), block(5, 6)])
    assert made.blocks() == [block(5, 6)]
    made.close()
    assert recovered(path, bits=256) == [block(5, 6)]


@pytest.mark.clause("KV-PER-03")
@pytest.mark.usefixtures("short")
def test_the_journal_is_rewritten_before_it_grows_without_end(path):
    made = filled(path, 3)
    for name in range(1000, 1200):
        made.store([block(7, name)])
        made.remove([name])
    numbers = made.statistics()
    assert numbers.records <= 3 + 4 + 2 * 4
    assert numbers.rewritten > 10
    assert (numbers.blocks, numbers.failures, numbers.lost) == (3, 0, 0)
    made.close()
    assert path.stat().st_size < 2000
    assert [kept.name for kept in recovered(path)] == [100, 101, 102]
    assert sorted(path.parent.iterdir()) == [path]


@pytest.mark.clause("KV-PER-07")
def test_slots_that_are_no_more_are_dropped_for_good(path):
    filled(path).close()
    assert [kept.slot for kept in recovered(path, slots=2)] == [0, 1]
    assert [kept.slot for kept in recovered(path, slots=8)] == [0, 1]


def test_an_index_whose_blocks_are_gone_begins_anew(path):
    filled(path).close()
    assert recovered(path, empty=True) == recovered(path) == []


# ── crashes ───────────────────────────────────────────────────────────────────────────────


DIRECTORY = "directory"


class Recorder:
    """Does what is asked, and notes it, so that every state between can be made again."""

    def __init__(self):
        self.steps = []
        self._files = {}  # by inode, whose numbers are used again
        self._numbers = itertools.count()

    def calls(self):
        return IndexCalls(self._write, self._fsync, self._rename)

    def _write(self, descriptor, data, offset):
        if offset == 0:  # every file begins so, and only once
            self._files[os.fstat(descriptor).st_ino] = next(self._numbers)
        self.steps.append(("write", self._file(os.fstat(descriptor)), bytes(data), offset))
        return os.pwrite(descriptor, data, offset)

    def _fsync(self, descriptor):
        self.steps.append(("fsync", self._file(os.fstat(descriptor))))

    def _rename(self, source, target):
        self.steps.append(("rename", self._file(source.stat())))
        source.rename(target)

    def _file(self, status):
        return DIRECTORY if stat.S_ISDIR(status.st_mode) else self._files[status.st_ino]


def files_after(steps, *, torn=None, synced_only=False, rename_undone=False):
    """Give {file name: content} as a crash after `steps` can leave them.

    torn: bytes of the last write that got through. synced_only: the machine crashed, and what
    was written after a file's last fsync is lost. rename_undone: and so is a rename that the
    directory was not synced after.
    """
    last_sync = {step[1]: at for at, step in enumerate(steps) if step[0] == "fsync"}
    renames = [at for at, step in enumerate(steps) if step[0] == "rename"]
    if rename_undone and renames and last_sync.get(DIRECTORY, -1) < renames[-1]:
        renames.pop()
    contents = {}
    for at, step in enumerate(steps):
        if step[0] != "write" or (synced_only and at > last_sync.get(step[1], -1)):
            continue
        _, inode, data, offset = step
        if torn is not None and at == len(steps) - 1:
            data = data[:torn]
        content = contents.setdefault(inode, bytearray())
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data
    current = steps[renames[-1]][1] if renames else None
    written = [step[1] for step in steps if step[0] == "write"]
    files = {"cache.index": contents.get(current, b"")} if renames else {}
    if written and written[-1] != current:
        files["cache.index.new"] = contents.get(written[-1], b"")
    return files


def a_busy_life(path, seed):
    """Store and remove at random, as a tier does; give each step and what was true then."""
    recorder, chance = Recorder(), random.Random(seed)
    made = opened(path, slots=4, calls=recorder.calls())
    slots = {}  # what the bytes in each slot really are
    pending = set()  # slots whose record may or may not be there
    moments = [(0, {}, set()), (len(recorder.steps), {}, set())]

    def moment():
        moments.append((len(recorder.steps), dict(slots), set(pending)))

    names = itertools.count(1)
    for _ in range(25):
        batch = chance.sample(range(4), chance.randrange(1, 4))
        pending.update(batch)
        moment()
        made.remove([slots[slot] for slot in batch if slot in slots])
        for slot in batch:
            slots.pop(slot, None)
        moment()
        chosen = [block(slot, next(names)) for slot in batch if chance.random() < 0.8]
        slots.update({kept.slot: kept.name for kept in chosen})
        moment()
        made.store(chosen)
        pending.difference_update(batch)
        moment()
    made.close()
    moment()
    return recorder.steps, moments


def truth_at(moments, count):
    """What is true once `count` steps are done: the bytes, and the slots in between."""
    before = [moment for moment in moments if moment[0] <= count]
    after = [moment for moment in moments if moment[0] >= count]
    return before[-1], after[0]


@pytest.mark.clause("KV-PER-01", "KV-PER-02", "KV-PER-03")
@pytest.mark.usefixtures("short")
def test_a_process_that_dies_at_any_step_loses_only_what_was_on_its_way(path, tmp_path, caplog):
    steps, moments = a_busy_life(path, seed=1)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    states = 0
    caplog.set_level(logging.ERROR)
    for count in range(1, len(steps) + 1):
        size = len(steps[count - 1][2]) if steps[count - 1][0] == "write" else None
        cuts = [None] if size is None else [None, 0, 1, size // 2, size - 1]
        for cut in cuts:
            put(crashed, files_after(steps[:count], torn=cut))
            kept = {one.slot: one for one in recovered(crashed / path.name, slots=4)}
            before, after = truth_at(moments, count if cut is None else count - 1)
            unsure = before[2] | after[2] | (truth_at(moments, count)[1][2])
            for slot, one in kept.items():
                assert one.checksum == checksum(one.name)
                assert slot in unsure or before[1].get(slot) == one.name, "wrong bytes"
            for slot, name in before[1].items():
                assert slot in unsure or kept[slot].name == name, "a complete block is lost"
            again = {one.slot: one for one in recovered(crashed / path.name, slots=4)}
            assert again == kept, "recovering twice is recovering once"
            states += 1
    assert states > 200


@pytest.mark.clause("KV-PER-01")
@pytest.mark.usefixtures("short")
def test_a_journal_is_whole_and_safe_before_it_has_its_name_and_the_name_is_safe_then(path):
    steps, _ = a_busy_life(path, seed=3)
    renames = [at for at, step in enumerate(steps) if step[0] == "rename"]
    assert len(renames) > 5
    for at in renames:
        number = steps[at][1]
        assert [step[:2] for step in steps[at - 2 : at]] == [("write", number), ("fsync", number)]
        assert steps[at + 1] == ("fsync", DIRECTORY)


def test_what_a_crash_left_of_a_rewrite_is_in_nobodys_way(path):
    path.with_name("cache.index.new").write_bytes(b"half a journ")
    made = filled(path)
    assert made.statistics().failures == 0
    made.close()
    assert len(recovered(path)) == 4
    assert sorted(path.parent.iterdir()) == [path]


def put(directory, files):
    for file in directory.iterdir():
        file.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)


@pytest.mark.clause("KV-PER-01", "KV-PER-02")
@pytest.mark.usefixtures("short")
def test_a_machine_that_dies_at_any_step_brings_back_true_records_only(path, tmp_path):
    """Some may be stale: then the bytes in the slot are others, and the checksum says so."""
    steps, moments = a_busy_life(path, seed=2)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    ever = {}
    for _, slots, _ in moments:
        for slot, name in slots.items():
            ever.setdefault(slot, set()).add(name)
    empty = 0
    for count, undone in itertools.product(range(1, len(steps) + 1), (False, True)):
        files = files_after(steps[:count], synced_only=True, rename_undone=undone)
        put(crashed, files)
        if path.name in files:
            assert files[path.name].startswith(header(IDENTITY)), "KV-PER-01: half a file"
        kept = recovered(crashed / path.name, slots=4)
        empty += not kept
        for one in kept:
            assert one.name in ever[one.slot]
            assert one.checksum == checksum(one.name)
    assert empty < len(steps), "a rewritten journal is on the disk before it is the journal"


@pytest.mark.clause("KV-PER-02", "KV-PER-06")
def test_a_journal_cut_at_any_byte_gives_what_is_whole_before_the_cut(path):
    filled(path).close()
    whole = path.read_bytes()
    names = [100, 101, 102, 103]
    size = RecordForm(64).size
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        records = max(0, length - len(header(IDENTITY))) // size
        kept = [one.name for one in recovered(path)]
        assert kept == names[:records]
        assert [one.name for one in recovered(path)] == kept
        made = opened(path)
        made.store([block(7, 1)])
        made.close()
        assert [one.name for one in recovered(path)] == [*kept, 1]


@pytest.mark.clause("KV-PER-02", "KV-PER-06", "KV-INT-03")
def test_a_flipped_bit_anywhere_in_the_index_is_never_believed(path):
    filled(path).close()
    whole = path.read_bytes()
    stored = [block(slot, 100 + slot, 99 + slot, slot, slot) for slot in range(4)]
    size = RecordForm(64).size
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 1 << position % 8
        path.write_bytes(broken)
        at = position - len(header(IDENTITY))
        assert recovered(path) == ([] if at < 0 else stored[: at // size])


@pytest.mark.clause("KV-PER-02")
def test_records_of_another_journal_are_not_taken_for_the_next_ones(path):
    """As after a crash that left an old tail behind a new end."""
    filled(path).close()
    old = path.read_bytes()
    made = opened(path, empty=True)
    made.store([block(0, 1)])
    made.close()
    new = path.read_bytes()
    path.write_bytes(new + old[len(new) :])
    assert [one.name for one in recovered(path)] == [1]


# ── files of others ───────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-04")
@pytest.mark.parametrize("field", IDENTITY)
def test_blocks_of_another_identity_are_ignored_and_the_log_says_why(path, field, caplog):
    filled(path).close()
    with caplog.at_level(logging.WARNING):
        made = opened(path, IDENTITY | {field: "other"})
    assert made.blocks() == []
    assert f"its {field} is {IDENTITY[field]!r}, and ours 'other'" in caplog.text
    made.close()
    assert recovered(path) == [], "and they do not come back"


@pytest.mark.clause("KV-PER-04")
def test_another_version_of_the_format_is_another_identity(path, caplog):
    filled(path).close()
    line = path.read_bytes().replace(b'"version": 1', b'"version": 2')
    path.write_bytes(line)
    assert recovered(path) == []
    assert "its version is 2" in caplog.text


@pytest.mark.clause("KV-PER-06", "KV-ISO-06")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"hello",
        b"[]\n",
        b"{}\n",
        b"\x80\x04\x95K\x00.\n",
        b"[" * 100_000 + b"\n",
        b"x" * (2 * LONGEST_HEADER),
        b'{"slot": ' + b"9" * 10_000 + b"}\n",
    ],
)
def test_a_file_that_is_no_index_is_an_empty_one(path, content, caplog):
    path.write_bytes(content)
    made = opened(path)
    assert made.blocks() == []
    assert "is not used" in caplog.text
    made.store([block(0, 1)])
    made.close()
    assert recovered(path) == [block(0, 1)]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_not_read_and_nothing_hangs(path, make):
    make(path)
    made = opened(path)
    made.store([block(0, 1)])
    assert made.blocks() == [block(0, 1)]
    assert made.statistics().failures > 0
    made.close()


@given(st.binary(max_size=400))
def test_random_bytes_after_a_header_are_no_blocks(tmp_path_factory, tail):
    path = tmp_path_factory.mktemp("index") / "cache.index"
    path.write_bytes(header(IDENTITY) + tail)
    assert recovered(path) == []


def test_the_header_is_json_and_the_difference_is_in_words():
    assert json.loads(header(IDENTITY))["dtype"] == "FP16"
    assert difference(header(IDENTITY), header({**IDENTITY, "extra": 1})).startswith("its extra")
    assert "another way" in difference(header({"a": 1}), header({"a": True}))


# ── disks that fail ───────────────────────────────────────────────────────────────────────


class Failing:
    """Refuses calls by name, or lets some bytes of a write through before it does."""

    def __init__(self):
        self.refused = set()
        self.room = None

    def calls(self):
        return IndexCalls(
            self._or(os.pwrite, "write"),
            self._or(os.fsync, "fsync"),
            self._or(os.replace, "rename"),
        )

    def _or(self, call, name):
        def wrapped(*arguments):
            if name in self.refused:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if name == "write" and self.room is not None:
                if not self.room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                descriptor, data, offset = arguments
                step = call(descriptor, data[: self.room], offset)
                self.room -= step
                return step
            return call(*arguments)

        return wrapped


@pytest.mark.clause("KV-PER-05")
@pytest.mark.parametrize("refused", ["write", "fsync", "rename"])
@pytest.mark.usefixtures("short")
def test_an_index_that_cannot_be_made_works_in_memory_and_is_made_later(path, refused):
    failing = Failing()
    failing.refused.add(refused)
    made = opened(path, calls=failing.calls())
    made.store([block(0, 1)])
    assert made.blocks() == [block(0, 1)]
    numbers = made.statistics()
    assert (numbers.failures, numbers.lost, numbers.records) == (1, 1, 0)
    failing.refused.clear()
    for name in range(10, 30):
        made.store([block(1, name)])
    made.close()
    assert [one.name for one in recovered(path)] == [1, 29]


@pytest.mark.clause("KV-PER-04", "KV-PER-05")
def test_a_journal_of_another_identity_that_cannot_be_replaced_is_left_alone(path):
    filled(path, identity={"model": "theirs"}).close()
    theirs = path.read_bytes()
    failing = Failing()
    failing.refused.add("rename")
    made = opened(path, calls=failing.calls())
    made.store([block(0, 1)])
    made.close()
    assert path.read_bytes() == theirs


@pytest.mark.usefixtures("short")
def test_a_change_that_brings_a_rewrite_is_written_once(path):
    made = opened(path)
    for name in range(6):
        made.store([block(0, name)])
    assert made.statistics().rewritten == 2
    assert made.statistics().records == 1
    made.close()


@pytest.mark.clause("KV-PER-05", "KV-PER-02")
@pytest.mark.parametrize("room", range(0, 3 * RecordForm(64).size, 7))
def test_what_a_full_disk_cuts_off_is_lost_and_nothing_behind_it(path, room):
    failing = Failing()
    made = opened(path, calls=failing.calls())
    made.store([block(0, 1)])
    failing.room = room
    made.store([block(1, 2), block(2, 3), block(3, 4)])
    whole = room // RecordForm(64).size
    assert made.statistics().lost == 3 - whole
    assert len(made.blocks()) == 4
    failing.room = None
    made.store([block(4, 5)])
    made.close()
    assert [one.name for one in recovered(path)] == [1, *[2, 3, 4][:whole], 5]


@pytest.mark.clause("KV-PER-05", "KV-PER-01")
@pytest.mark.parametrize("refused", ["write", "fsync", "rename"])
@pytest.mark.usefixtures("short")
def test_a_rewrite_that_fails_leaves_the_old_journal_in_use(path, refused):
    failing = Failing()
    made = filled(path, 2, calls=failing.calls())
    while made.statistics().rewritten == 1 and made.statistics().failures == 0:
        if made._since == 4 + 2:  # the next change rewrites
            failing.refused.add(refused)
        made.store([block(0, 100)])
    failing.refused.clear()
    assert made.statistics().failures >= 1
    made.store([block(5, 55)])
    made.close()
    assert {one.name for one in recovered(path)} >= {101, 55}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_closing_twice_is_closing_once_and_later_changes_are_nobodys(path):
    made = filled(path)
    made.close()
    made.close()
    made.store([block(7, 1)])
    assert len(recovered(path)) == 4
