"""The model of a disk, by small journals whose images were counted by hand."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import pytest
from kvbm_spec.disk import (
    EXHAUSTIVE,
    Data,
    Journal,
    Names,
    Size,
    Sync,
    SyncNames,
    crash_states,
    folder_of,
    image_of,
)
from kvbm_spec.recorder import Recorder, image_on, put_image

NEW = Names((("a", 0),))


def images(*ops, base=None, point=None):
    """Give all images, as sorted lists of (path, content), of one moment or of all."""
    states = crash_states(Journal(base or {}, ops))
    return sorted({tuple(state.image.items()) for state in states if point in (None, state.point)})


# ── what can be found ─────────────────────────────────────────────────────────────────────


def test_of_one_write_there_is_all_or_nothing_or_its_size():
    assert images(Data(0, 1, b"xy"), base={"a": b"0"}) == [
        (("a", b"0"),),
        (("a", b"0\0\0"),),  # it grew, and what was written has not arrived
        (("a", b"0xy"),),
    ]


def test_a_write_within_a_file_shows_old_or_new():
    assert images(Data(0, 1, b"x"), base={"a": b"000"}) == [(("a", b"000"),), (("a", b"0x0"),)]


def test_what_was_synced_is_there_and_what_came_after_may_be():
    ops = Data(0, 0, b"x"), Sync(0), Data(0, 1, b"y")
    assert images(*ops, base={"a": b"00"}, point=3) == [(("a", b"x0"),), (("a", b"xy"),)]


def test_two_writes_arrive_in_any_order():
    ops = Data(0, 0, b"x"), Data(0, 1, b"y")
    contents = [image[0][1] for image in images(*ops, base={"a": b"00"}, point=2)]
    assert contents == [b"00", b"0y", b"x0", b"xy"]


def test_a_later_write_to_the_same_place_wins_where_both_arrive():
    ops = Data(0, 0, b"x"), Data(0, 0, b"y")
    contents = [image[0][1] for image in images(*ops, base={"a": b"0"}, point=2)]
    assert contents == [b"0", b"x", b"y"]


def test_a_sync_is_of_one_file():
    ops = Data(0, 0, b"x"), Data(1, 0, b"y"), Sync(0)
    assert images(*ops, base={"a": b"0", "b": b"0"}, point=3) == [
        (("a", b"x"), ("b", b"0")),
        (("a", b"x"), ("b", b"y")),
    ]


def test_a_durable_write_does_not_take_the_earlier_ones_along():
    ops = Data(0, 0, b"x"), Data(0, 1, b"y", durable=True)
    contents = [image[0][1] for image in images(*ops, base={"a": b"00"}, point=2)]
    assert contents == [b"0y", b"xy"]


def test_a_new_file_can_be_lost_though_it_was_synced():
    ops = NEW, Data(0, 0, b"x"), Sync(0)
    assert images(*ops, point=3) == [(), (("a", b"x"),)]
    assert images(*ops, SyncNames(""), point=4) == [(("a", b"x"),)]


def test_a_name_can_arrive_before_the_bytes():
    """The classic: renamed without a sync, the file is empty."""
    moved = Names((("new", None), ("a", 1)))
    ops = Names((("new", 1),)), Data(1, 0, b"x"), moved, SyncNames("")
    found = images(*ops, base={"a": b"old"}, point=4)
    assert found == [(("a", b""),), (("a", b"\0"),), (("a", b"x"),)]


def test_a_rename_happens_as_a_whole():
    moved = Names((("a", None), ("b", 0)))
    assert images(moved, base={"a": b"x"}) == [(("a", b"x"),), (("b", b"x"),)]


def test_a_file_can_be_cut_grown_and_removed():
    assert images(Size(0, 1), Sync(0), base={"a": b"xyz"}, point=2) == [(("a", b"x"),)]
    assert images(Size(0, 4), Sync(0), base={"a": b"xyz"}, point=2) == [(("a", b"xyz\0"),)]
    gone = Names((("a", None),))
    assert images(gone, base={"a": b"x"}) == [(), (("a", b"x"),)]
    assert images(gone, SyncNames(""), base={"a": b"x"}, point=2) == [()]


def test_names_of_another_folder_are_not_synced():
    assert folder_of("a") == ""
    assert folder_of("sub/deep/a") == "sub/deep"
    ops = Names((("sub/a", 0),)), SyncNames("")
    assert images(*ops, point=2) == [(), (("sub/a", b""),)]


def test_a_long_write_is_torn_between_sectors_and_nowhere_else():
    old, new = b"0" * 1024, b"x" * 1024
    found = images(Data(0, 0, new), base={"a": old})
    half = {(("a", b"x" * 512 + b"0" * 512),), (("a", b"0" * 512 + b"x" * 512),)}
    assert set(found) == {(("a", old),), (("a", new),)} | half
    # From byte 500 on, the first sector ends after 12 bytes.
    found = images(Data(0, 500, b"x" * 20), base={"a": old})
    assert {image[0][1].count(b"x") for image in found} == {0, 8, 12, 20}


def test_a_torn_write_at_the_end_of_a_file_may_end_it():
    found = images(Data(0, 0, b"x" * 1024), base={"a": b""})
    assert {image[0][1] for image in found} == {
        *(b"", bytes(1024), b"x" * 1024),
        *(b"x" * 512, bytes(512) + b"x" * 512),
    }


def test_of_a_very_long_write_a_few_cuts_are_tried():
    found = images(Data(0, 0, b"x" * 8192), base={"a": b"0" * 8192})
    assert {image[0][1].count(b"x") for image in found} == {0, 512, 4096, 7680, 8192}


@pytest.mark.parametrize(("count", "subsets"), [(4, 2**4), (6, 2 + 2 * 6 + 6 - 3)])
def test_of_few_writes_all_subsets_are_given_and_of_more_the_stated_ones(count, subsets):
    """Six: none, all, six alone, six without one, prefixes of 2 to 4; one of 5 lacks the last."""
    assert EXHAUSTIVE == 4
    ops = [Data(0, at, b"x") for at in range(count)]
    found = images(*ops, base={"a": b"0" * count}, point=count)
    assert len(found) == subsets
    kept = {image[0][1].count(b"x") for image in found}
    assert kept == set(range(count + 1))


def test_a_state_is_found_again_and_knows_whether_it_is_whole():
    ops = NEW, Data(0, 0, b"x" * 600), SyncNames(""), Size(0, 700), Sync(0)
    journal = Journal({}, ops)
    whole = []
    for state in crash_states(journal):
        assert image_of(journal, state.point, [list(one) for one in state.kept]) == state.image
        if state.whole:
            whole.append(state.image)
    grown = b"x" * 600 + bytes(100)
    assert whole == [
        *({}, {"a": b""}, {"a": b"x" * 600}, {"a": b"x" * 600}, {"a": grown}, {"a": grown})
    ]


# ── what is recorded ──────────────────────────────────────────────────────────────────────


def test_calls_of_os_are_noted_in_order_and_with_their_bytes(tmp_path):
    with Recorder(tmp_path) as recorder:
        file = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(file, b"ab")
        os.writev(file, [b"c", b"d"])
        os.pwrite(file, b"x", 1)
        os.pwritev(file, [b"y", bytearray(b"z")], 2)
        os.fdatasync(file)
        os.ftruncate(file, 3)
        os.posix_fallocate(file, 0, 5)
        os.posix_fallocate(file, 0, 2)  # is there
        os.truncate(tmp_path / "a", 4)
        (tmp_path / "a").rename(tmp_path / "b")
        os.link(tmp_path / "b", tmp_path / "c")
        (tmp_path / "b").unlink()
        os.close(file)
        folder = os.open(tmp_path, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    assert recorder.journal().ops == (
        Names((("a", 0),)),
        Data(0, 0, b"ab"),
        Data(0, 2, b"cd"),
        Data(0, 1, b"x"),
        Data(0, 2, b"yz"),
        Sync(0),
        Size(0, 3),
        Size(0, 5),
        Size(0, 4),
        Names((("a", None), ("b", 0))),
        Names((("c", 0),)),
        Names((("b", None),)),
        SyncNames(""),
    )
    assert recorder.complete


def test_files_of_open_are_followed_too(tmp_path):
    (tmp_path / "old").write_text("0")
    with Recorder(tmp_path) as recorder:
        with (tmp_path / "old").open("a", encoding="ascii") as file:
            file.write("1")
        with (tmp_path / "old").open("w") as file:
            file.write("2")
        with io.open(os.open(tmp_path / "b", os.O_WRONLY | os.O_CREAT), "wb") as file:  # noqa: UP020
            file.write(b"3")
            file.flush()
            os.fsync(file)
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "c").write_bytes(b"4")
        (tmp_path / "sub").rename(tmp_path / "other")
    assert recorder.journal().ops == (
        Data(0, 1, b"1"),
        Size(0, 0),
        Data(0, 0, b"2"),
        Names((("b", 1),)),
        Data(1, 0, b"3"),
        Sync(1),
        Names((("sub/c", 2),)),
        Data(2, 0, b"4"),
        Names((("sub/c", None), ("other/c", 2))),
    )
    assert recorder.journal().base == {"old": b"0"}
    assert recorder.complete


def test_flags_say_what_is_durable_and_where_a_write_goes(tmp_path):
    with Recorder(tmp_path) as recorder:
        file = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC)
        os.write(file, b"x")
        os.pwrite(file, b"y", 0)  # goes to the end, all the same
        os.close(file)
        file = os.open(tmp_path / "a", os.O_RDWR)
        twin = os.dup(file)
        os.pwritev(twin, [b"z"], 0, os.RWF_DSYNC)
        os.pwrite(file, b"z", 1)
        os.close(file)
        os.close(twin)
    assert recorder.journal().ops[1:] == (
        Data(0, 0, b"x", durable=True),
        Data(0, 1, b"y", durable=True),
        Data(0, 0, b"z", durable=True),
        Data(0, 1, b"z"),
    )


def test_a_descriptor_that_is_closed_and_used_again_is_another_file(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    with Recorder(inside) as recorder:
        file = os.open(inside / "a", os.O_WRONLY | os.O_CREAT)
        os.close(file)
        again = os.open(outside, os.O_WRONLY | os.O_CREAT)
        assert again == file
        os.write(again, b"x")
        os.fsync(again)
        os.close(again)
    assert recorder.journal().ops == (Names((("a", 0),)),)


def test_a_file_without_a_name_is_not_found(tmp_path):
    with Recorder(tmp_path) as recorder:
        file = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
        os.write(file, b"x")
        os.sync()
        os.close(file)
    assert recorder.journal().ops == (Data(0, 0, b"x"), Sync(0))
    assert recorder.complete


def test_other_files_and_other_times_are_none_of_its_business(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "inside-not"
    inside.mkdir()
    names = os.open, os.pwrite, os.replace, io.open, open
    with Recorder(inside) as recorder:
        outside.write_bytes(b"x")
        outside.unlink()
    assert (os.open, os.pwrite, os.replace, io.open, open) == names
    (inside / "later").write_bytes(b"x")
    assert recorder.journal().ops == ()
    assert not recorder.complete, "and it says so when it has not seen everything"


def test_threads_are_noted_each_call_with_its_place(tmp_path):
    def work(number):
        file = os.open(tmp_path / f"{number}", os.O_WRONLY | os.O_CREAT)
        for at in range(20):
            os.pwrite(file, bytes([number]), at)
        os.close(file)

    with Recorder(tmp_path) as recorder:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorder.now == 4 * 21
    assert recorder.complete


def test_calls_fail_when_they_are_told_to_and_change_nothing(tmp_path):
    file = tmp_path / "a"
    with Recorder(tmp_path) as recorder:
        recorder.fail("write", errno.ENOSPC, 1)
        recorder.fail("sync", errno.EIO)
        recorder.fail("name", errno.EACCES)
        with file.open("wb", buffering=0) as opened:
            with pytest.raises(OSError, match="No space left"):
                opened.write(b"x")
            assert opened.write(b"y") == 1
            for _ in range(2):
                with pytest.raises(OSError, match="Input/output error"):
                    os.fsync(opened.fileno())
        with pytest.raises(PermissionError):
            file.rename(tmp_path / "b")
        recorder.fail("read", errno.EIO)
        with pytest.raises(OSError, match="Input/output error"):
            file.read_bytes()
        recorder.heal()
        assert file.read_bytes() == b"y"
        file.rename(tmp_path / "b")
    assert recorder.failed == 5
    assert image_on(tmp_path) == {"b": b"y"}
    assert recorder.complete


def test_an_image_can_be_put_and_read_again(tmp_path: Path):
    image = {"a": b"1", "sub/deep/b": b"", "z": bytes(9)}
    put_image(image, tmp_path)
    assert image_on(tmp_path) == image
