"""The compiled loops, and their plain twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvbm.layout import BlockOrder, DType, FullyContiguous, LayoutConfig
from kvbm.transfer import copying
from kvbm.transfer.copying import copy_pieces, copy_pieces_plainly
from kvbm.transfer.memory import permute, permute_fast
from kvbm.transfer.plan import PlanPolicy, Transform, plan

SIZES = st.sampled_from([0, 1, 63, 64, 65, 127, 128, 4096, 16384, 16385, 16384 + 64, 40000])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(SIZES, st.integers(0, 100), st.integers(0, 100)), max_size=6),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_pieces_are_copied_as_by_memmove(rows, stream, seed) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, 300_000, np.uint8)
    ours, plain = np.zeros_like(noise), np.zeros_like(noise)
    sizes = np.array([size for size, _, _ in rows], np.int64)
    steps = np.array([[gap, skew] for _, gap, skew in rows], np.int64).reshape(-1, 2)
    starts = np.cumsum(sizes + steps[:, 0]) - sizes
    sources = noise.ctypes.data + np.cumsum(sizes + steps[:, 1]) - sizes
    saved, copying.STREAM = copying.STREAM, 0 if stream else 1 << 60
    try:
        copy_pieces(ours.ctypes.data + starts, sources, sizes)
    finally:
        copying.STREAM = saved
    copy_pieces_plainly(plain.ctypes.data + starts, sources, sizes)
    assert np.array_equal(ours, plain)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    *[st.sampled_from([BlockOrder.NHD, BlockOrder.HND, BlockOrder.UNIVERSAL])] * 2,
    st.sampled_from([1, 3, 16, 64]),
    st.sampled_from([DType.U8, DType.BF16, DType.FP32, DType.I64]),
    st.booleans(),
    st.integers(0, 64),
)
@pytest.mark.clause("KV-TIR-08")
def test_orders_are_changed_as_by_numpy(
    new_world, one, other, head_dim, dtype, stream, skew
) -> None:
    world = new_world(skew)
    config = LayoutConfig(3, 2, 2, 5, 3 * head_dim, dtype, 1, 3, one)
    source = world.bind(FullyContiguous(config), "skewed", skew)
    fast, plain = (world.bind(FullyContiguous(replace(config, order=other))) for _ in range(2))
    plain.memories[0].array()[:] = fast.memories[0].array()
    made = plan(
        source.layout, fast.layout, [0, 2], [2, 1],
        same_memory=False, layers=range(1, 2), policy=PlanPolicy(min_inner_bytes=1 << 60),
    )  # fmt: skip
    if not isinstance(made, Transform):
        return
    saved, copying.STREAM = copying.STREAM, 0 if stream else 1 << 60
    try:
        permute_fast(source, fast, made)
    finally:
        copying.STREAM = saved
    permute(source, plain, made)
    assert np.array_equal(fast.memories[0].array(), plain.memories[0].array())
