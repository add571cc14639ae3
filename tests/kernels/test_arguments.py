"""Bad arguments are refused on the host, with a sentence, before anything is launched."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kvbm_kernels.copying import copy_blocks
from kvbm_kernels.digest import checksum_blocks, digest
from kvbm_kernels.filling import fill_pattern, fill_words, verify_pattern, zero_blocks
from kvbm_kernels.fp8 import dequantize_fp8, peak_blocks, quantize_fp8
from kvbm_kernels.pattern import STEP, mix
from kvbm_kernels.permuting import (
    block_from_universal,
    merge_heads,
    permute,
    slice_heads,
    transpose_nhd_hnd,
    universal_from_block,
)
from kvbm_kernels.regions import MOST, THREADS, Regions, check_disjoint, cut, piece_of, widest
from kvbm_kernels.rows import BlockShape, Order, paged, universal, whole
from kvbm_kernels.work import BLOCKS

SHAPE = BlockShape(layers=4, outer=2, tokens=16, heads=8, row=256)

far = Regions.at([1 << 30, 1 << 31])
near = Regions.at([1 << 20, 1 << 21])


# ── tables ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", [[4096, 0], [0], np.zeros(3, np.uint64)])
def test_a_null_address_is_refused(table) -> None:
    with pytest.raises(ValueError, match="a null address"):
        Regions.at(table)


@pytest.mark.parametrize("table", [[-16], [2**64], [4096, 2**64], [2**63, -1], np.array([-1])])
def test_an_address_that_no_machine_has_is_refused(table) -> None:
    with pytest.raises(ValueError, match=r"addresses: must be in 0 … 2\*\*64 - 1"):
        Regions.at(table)


@pytest.mark.parametrize("table", [[1.5], ["a"], [2**63, 1.5], np.array([4096.0]), [None]])
def test_an_address_that_is_no_integer_is_refused(table) -> None:
    with pytest.raises(ValueError, match="addresses: must be integers"):
        Regions.at(table)


def test_small_and_huge_integers_go_into_one_table() -> None:
    assert Regions.at([16, 2**64 - 16]).bases.tolist() == [16, 2**64 - 16]
    (work,) = fill_pattern(far, 8, [1, 2**64 - 1], [0, 0], [0, 0])
    assert work.tables[1].tolist() == [mix(mix(mix(key))) for key in (1, 2**64 - 1)]


@pytest.mark.parametrize(("parts", "stride"), [(0, 1), (2, 0), (1, -1)])
def test_parts_that_make_no_sense_are_refused(parts, stride) -> None:
    with pytest.raises(ValueError, match="must be at least one, apart"):
        Regions.at([4096], parts, stride)


def test_addresses_follow_from_bases_parts_and_stride() -> None:
    regions = Regions.at([1000, 5000], parts=3, stride=10)
    assert len(regions) == 6
    assert regions.addresses().tolist() == [1000, 1010, 1020, 5000, 5010, 5020]
    assert Regions.at([2**64 - 16]).addresses().tolist() == [2**64 - 16]


@given(st.lists(st.integers(1, 2**48), min_size=1, max_size=4), st.integers(0, 99))
def test_the_widest_access_divides_all_addresses_and_the_size(addresses, size) -> None:
    regions = Regions.at(addresses, parts=2, stride=max(size, 1))
    width = widest(size, regions)
    everything = [*regions.addresses().tolist(), size]
    assert all(each % width == 0 for each in everything)
    assert width == 16 or any(each % (2 * width) for each in everything)


# ── overlap ───────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.integers(100, 200), max_size=4),
    st.lists(st.integers(100, 200), max_size=4),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 2),
    st.integers(20, 60),
)
def test_overlap_is_refused_exactly_when_a_byte_is_shared(
    targets, sources, dst_size, src_size, parts, stride
) -> None:
    dst, src = Regions.at(targets, parts, stride), Regions.at(sources, parts, stride)
    written = [set(range(at, at + dst_size)) for at in dst.addresses().tolist()]
    read = {byte for at in src.addresses().tolist() for byte in range(at, at + src_size)}
    together = set().union(*written)
    clash = sum(map(len, written)) > len(together) or bool(together & read)
    if clash:
        with pytest.raises(ValueError, match="overlap"):
            check_disjoint(dst, dst_size, src, src_size)
    else:
        check_disjoint(dst, dst_size, src, src_size)


@given(
    st.lists(st.tuples(st.integers(1, 99), st.integers(100, 199), st.integers(0, 30)), max_size=3)
)
def test_overlap_of_ragged_regions_is_refused_exactly_when_a_byte_is_shared(pairs) -> None:
    sources, targets, sizes = (
        (list(each) for each in zip(*pairs, strict=True)) if pairs else ([],) * 3
    )
    written = [set(range(at, at + size)) for at, size in zip(targets, sizes, strict=True)]
    read = {byte for at, size in zip(sources, sizes, strict=True) for byte in range(at, at + size)}
    together = set().union(*written)
    if sum(map(len, written)) > len(together) or together & read:
        with pytest.raises(ValueError, match="overlap"):
            copy_blocks(Regions.at(targets), Regions.at(sources), np.array(sizes, np.int64))
    else:
        copy_blocks(Regions.at(targets), Regions.at(sources), np.array(sizes, np.int64))


@pytest.mark.parametrize("sizes", [16, [16, 16]], ids=["equal", "ragged"])
@pytest.mark.parametrize(
    ("targets", "sources", "message"),
    [
        ([100, 116], [300, 316], None),
        ([100, 115], [300, 316], "targets overlap"),
        ([100, 200], [116, 184], None),
        ([100, 200], [115, 300], "source.* overlaps a target"),
        ([100, 200], [300, 185], "source.* overlaps a target"),
        ([100, 200], [300, 300], None),
    ],
)
def test_regions_may_touch_and_not_share_a_byte(targets, sources, sizes, message) -> None:
    dst, src = Regions.at(targets), Regions.at(sources)
    if message is None:
        assert copy_blocks(dst, src, sizes)
    else:
        with pytest.raises(ValueError, match=message):
            copy_blocks(dst, src, sizes)


def test_interleaved_blocks_of_layers_that_do_not_touch_are_allowed() -> None:
    """Two blocks, each with layers 1000 bytes apart, one 100 bytes behind the other."""
    assert copy_blocks(Regions.at([4096, 4196], 3, 1000), Regions.at([9000, 9100], 3, 1000), 100)


def test_sources_that_run_into_each_other_between_targets_are_allowed() -> None:
    assert copy_blocks(Regions.at([4096], 2, 1000), Regions.at([4196], 2, 50), 100)


def test_regions_that_run_into_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="they overlap"):
        copy_blocks(Regions.at([1 << 20], 2, 50), Regions.at([1 << 30], 2, 100), 100)


# ── no work ───────────────────────────────────────────────────────────────────────────────

none = Regions.at([])


@pytest.mark.parametrize(
    "works",
    [
        copy_blocks(none, none, 100),
        copy_blocks(far, near, 0),
        copy_blocks(far, near, [0, 0]),
        copy_blocks(none, none, []),
        zero_blocks(none, 100),
        zero_blocks(far, 0),
        fill_pattern(none, 8, [], [], []),
        verify_pattern(4096, none, 8, [], [], []),
        checksum_blocks(4096, none, 8, 1),
        peak_blocks(4096, none, 8, 1, "bf16"),
        quantize_fp8(none, none, 8, 4096, 1, "bf16"),
        quantize_fp8(far, near, 0, 4096, 1, "bf16"),
        dequantize_fp8(none, none, 8, 4096, 1, "fp16"),
        universal_from_block([], [], SHAPE, Order.NHD),
        block_from_universal([], [], SHAPE, Order.HND),
        transpose_nhd_hnd([], [], SHAPE, Order.NHD),
    ],
)
def test_nothing_to_do_is_no_work(works) -> None:
    assert works == ()


# ── each operation ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: copy_blocks(far, none, 8), "0 source regions for 2 target regions"),
        (lambda: copy_blocks(far, near, -1), "size: must be in 0"),
        (lambda: copy_blocks(far, near, [8, -1]), "size: must be in 0"),
        (lambda: copy_blocks(far, near, 1.5), "size: must be integers"),
        (lambda: copy_blocks(far, near, 8, blocks=0), "blocks = 0: must be at least 1"),
        (lambda: zero_blocks(far, 8, blocks=-1), "blocks = -1: must be at least 1"),
        (lambda: copy_blocks(far, near, [1, 2, 3]), "one for each"),
        (
            lambda: copy_blocks(Regions.at([1 << 50]), Regions.at([1 << 55]), 16 * MOST + 16),
            "kernels count to",
        ),
        (lambda: fill_words(far, -1, 0), "size = -1: must not be negative"),
        (lambda: fill_words(far, 8, -1), "word = -1: must be in 0"),
        (lambda: fill_words(far, 8, 2**64), "must be in 0"),
        (lambda: fill_words(Regions.at([4096], 2, 4), 8, 0), "4 bytes apart: they overlap"),
        (lambda: fill_words(Regions.at([4096, 4100]), 8, 0), "targets overlap at 0x1004"),
        (lambda: fill_pattern(far, 8, [1], [1, 2], [0, 0]), "keys of shape"),
        (lambda: fill_pattern(far, 8, [1, 2], [1, -2], [0, 0]), "layers: must be in 0"),
        (lambda: fill_pattern(far, 8, [1, 2], [1, 2], [0.5, 0]), "outers: must be integers"),
        (lambda: verify_pattern(4096, far, -8, *[[0, 0]] * 3), "size = -8: must not be negative"),
        (lambda: verify_pattern(4100, far, 8, *[[0, 0]] * 3), "must be a multiple of 8"),
        (lambda: verify_pattern(1 << 30, far, 8, *[[0, 0]] * 3), "overlaps a target"),
        (lambda: verify_pattern(0, far, 8, *[[0, 0]] * 3), "null"),
        (lambda: checksum_blocks(4100, far, 8, 1), "must be a multiple of 8"),
        (lambda: checksum_blocks(4096, far, 8, 3), "no blocks of 3"),
        (lambda: checksum_blocks(4096, far, -8, 2), "no blocks of 2"),
        (lambda: checksum_blocks(4100, far, 8, 2), "results at 0x1004: must be a multiple of 8"),
        (lambda: checksum_blocks((1 << 30) - 8, far, 8, 1), "overlaps a target"),
        (lambda: checksum_blocks((1 << 30) + 8, far, 99, 2), "overlaps a target"),
        (lambda: peak_blocks(4096, far, 8, 1, "fp8"), "dtype = 'fp8': must be one of"),
        (lambda: peak_blocks(4098, far, 8, 1, "bf16"), "multiple of 4"),
        (lambda: peak_blocks(0, far, 8, 1, "bf16"), "not null"),
        (lambda: peak_blocks(4096, far, 8, 3, "bf16"), "no blocks of 3"),
        (lambda: peak_blocks(4096, Regions.at([4097]), 8, 1, "bf16"), "no multiple of 2"),
        (lambda: quantize_fp8(far, Regions.at([1, 99]), 8, 4096, 1, "bf16"), "source address"),
        (lambda: peak_blocks((1 << 30) + 4, far, 8, 1, "bf16"), "overlaps a target"),
        (lambda: peak_blocks(4096, far, MOST + 16, 1, "bf16"), "numbers: kernels count to"),
        (lambda: quantize_fp8(far, near, 8, (1 << 31) + 4, 1, "bf16"), "overlaps a target"),
        (lambda: dequantize_fp8(far, near, 8, (1 << 30) - 4, 1, "bf16"), "overlaps a target"),
        (lambda: quantize_fp8(far, far, 8, 4096, 1, "bf16"), "overlaps a target"),
        (lambda: quantize_fp8(near, Regions.at([8]), 8, 4096, 1, "bf16"), "1 source regions"),
        (lambda: dequantize_fp8(Regions.at([1, 99]), far, 8, 4096, 1, "bf16"), "target address"),
        (lambda: dequantize_fp8(far, near, -8, 4096, 1, "bf16"), "no blocks"),
    ],
    ids=itertools.count(),
)
def test_bad_arguments_are_refused_with_a_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ── layouts ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["layers", "outer", "tokens", "heads", "row"])
def test_a_block_without_extent_is_refused_by_name(name) -> None:
    sizes = {"layers": 4, "outer": 2, "tokens": 16, "heads": 8, "row": 256} | {name: 0}
    with pytest.raises(ValueError, match=f"{name} = 0: must be at least 1"):
        BlockShape(**sizes)


def test_a_block_of_llama_70b_has_the_bytes_that_it_should() -> None:
    shape = BlockShape(layers=80, outer=2, tokens=16, heads=8, row=256)
    assert (shape.region, shape.block) == (32 * 1024, 5 * 1024 * 1024)


@pytest.mark.parametrize(("first", "layers"), [(-1, 1), (0, 0), (0, 5), (3, 2), (4, None)])
@pytest.mark.parametrize(
    "describe", [universal, lambda *args, **kw: whole(*args[:1], Order.NHD, *args[1:], **kw)]
)
def test_layers_outside_the_block_are_refused(describe, first, layers) -> None:
    with pytest.raises(ValueError, match="of 4: not inside"):
        describe(SHAPE, [1 << 20], first_layer=first, layers=layers)


def test_layers_of_a_whole_block_lie_one_behind_the_other() -> None:
    rows = whole(SHAPE, Order.HND, [1 << 20], first_layer=1, layers=2)
    begin = (1 << 20) + SHAPE.outer * SHAPE.region
    end = begin + 2 * SHAPE.outer * SHAPE.region
    assert rows.regions.addresses().tolist() == list(range(begin, end, SHAPE.region))


def test_a_table_that_is_no_whole_number_of_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="3 regions: not a multiple of 8"):
        paged(SHAPE, Order.NHD, [4096, 8192, 9999])


@pytest.mark.parametrize(("start", "heads"), [(-1, 2), (0, 9), (8, 1), (7, 2), (0, 0)])
def test_heads_outside_the_block_are_refused(start, heads) -> None:
    with pytest.raises(ValueError, match="of 8: not inside"):
        universal(SHAPE, [1 << 20]).slice(start, heads)


def test_heads_that_do_not_fit_are_refused_by_slice_and_merge() -> None:
    half = BlockShape(layers=4, outer=2, tokens=16, heads=4, row=256)
    small, large = universal(half, [1 << 20]), universal(SHAPE, [1 << 30])
    with pytest.raises(ValueError, match="heads 5 … 8 of 8"):
        slice_heads(small, large, 5)
    with pytest.raises(ValueError, match="heads 5 … 8 of 8"):
        merge_heads(large, small, 5)


@pytest.mark.parametrize("name", ["tokens", "heads", "row"])
def test_unequal_sizes_are_refused_by_name(name) -> None:
    sizes = {"layers": 4, "outer": 2, "tokens": 16, "heads": 8, "row": 256}
    other = BlockShape(**(sizes | {name: 4}))
    with pytest.raises(ValueError, match=f"{name}: 4 in the source"):
        permute(universal(SHAPE, [1 << 30]), universal(other, [1 << 20]))


def test_any_number_of_regions_is_transposed() -> None:
    (work,) = transpose_nhd_hnd([1 << 30], [1 << 20], SHAPE, Order.NHD)
    assert len(work.tables[0]) == 1


def test_unequal_numbers_of_regions_are_refused() -> None:
    with pytest.raises(ValueError, match="regions: 16 in the source, 8 in the target"):
        permute(universal(SHAPE, [1 << 30]), universal(SHAPE, [1 << 20, 1 << 21]))


def test_a_permutation_onto_its_own_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="overlaps a target"):
        permute(universal(SHAPE, [1 << 30]), whole(SHAPE, Order.NHD, [(1 << 30) + 512]))


def test_rows_too_far_apart_for_the_kernels_are_refused() -> None:
    huge = BlockShape(layers=1 << 20, outer=2, tokens=1 << 10, heads=8, row=256)
    with pytest.raises(ValueError, match="accesses apart"):
        permute(universal(huge, [1 << 56]), whole(huge, Order.NHD, [1 << 20]))


def test_rows_are_moved_by_the_widest_access_that_divides_them() -> None:
    for row, width in ((256, 16), (24, 8), (20, 4), (6, 2), (3, 1)):
        shape = BlockShape(layers=1, outer=1, tokens=4, heads=2, row=row)
        (work,) = permute(universal(shape, [1 << 30]), whole(shape, Order.NHD, [1 << 20]))
        assert work.kernel.constants[0] == width


def test_ragged_copies_are_grouped_by_the_widest_access_of_each_pair() -> None:
    offsets = np.array([0, 101, 202, 304, 408])
    works = copy_blocks(Regions.at(4096 + offsets), Regions.at(8192 + offsets), [99, 99, 99, 99, 0])
    assert [work.kernel.constants for work in works] == [(16, True), (2, True), (1, True)]
    assert [work.tables[0].tolist() for work in works] == [[4096, 4400], [4298], [4197]]
    five = Regions.at([64, 200, 308, 402, 501]), Regions.at([1024, 1200, 1308, 1402, 1501])
    assert [work.kernel.constants[0] for work in copy_blocks(*five, [9] * 5)] == [16, 8, 4, 2, 1]


def test_words_and_numbers_are_reached_as_their_addresses_allow() -> None:
    for address, words, wide in ((32, 16, 1), (24, 8, 0), (20, 1, 0), (18, 1, 0)):
        regions = Regions.at([address])
        (filling,) = zero_blocks(regions, 64)
        (quantizing,) = quantize_fp8(Regions.at([1 << 20]), regions, 64, 4096, 1, "bf16")
        assert filling.kernel.constants[0] == words
        assert quantizing.kernel.constants[1] == wide


# ── sharing the work ──────────────────────────────────────────────────────────────────────


@given(st.integers(1, 9), st.integers(1, 10_000))
def test_the_pieces_of_a_region_cover_it_once(pieces, steps) -> None:
    bounds = [piece_of(np.uint32(n), np.uint32(pieces), np.uint32(steps)) for n in range(pieces)]
    assert [int(first) for first, _ in bounds] == [0, *(int(last) for _, last in bounds[:-1])]
    assert int(bounds[-1][1]) == steps
    assert all(int(first) % THREADS == 0 or first == steps for first, _ in bounds)


def test_few_large_regions_fill_the_gpu_and_many_small_ones_queue() -> None:
    assert cut(1, 327_680, BLOCKS) == (640, 640)  # one block of 5 MiB, four rounds a piece
    assert cut(160, 2048, BLOCKS) == (4, 640)
    assert cut(40_960, 2048, BLOCKS) == (1, BLOCKS)
    assert cut(40_960, 2048, 12) == (1, 12)
    with pytest.raises(ValueError, match="regions in one launch"):
        cut(MOST + 1, 1, BLOCKS)


# ── digests ───────────────────────────────────────────────────────────────────────────────


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_changed_bit_changes_the_digest(region, data) -> None:
    changed = bytearray(region)
    changed[data.draw(st.integers(0, len(region) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert digest([region]) != digest([changed])


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_swapped_words_regions_and_lengths_change_the_digest(one, two) -> None:
    assert digest([one]) != digest([one + b"\0"])
    assert digest([one]) != digest([one[:-1]])
    if one != two:
        assert digest([one, two]) != digest([two, one])
    if one[:8] != one[8:]:
        assert digest([one]) != digest([one[8:] + one[:8]])


def test_the_digest_is_the_documented_sum() -> None:
    words = [int.from_bytes(part, "little") for part in (b"abcdefgh", b"ijk")]
    terms = [mix(((word ^ mix(1)) + (i + 1) * STEP) % 2**64) for i, word in enumerate(words)]
    assert digest([b"abcdefghijk"]) == (11 + sum(terms)) % 2**64
    assert digest([]) == 0
