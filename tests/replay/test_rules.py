"""The rule sets against other programs' integers, and against the prose played plainly."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import plain_rules
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidConfig
from kvbm.replay.observer import Observer
from kvbm.replay.rules import RULES
from kvbm.replay.trace import Request, Trace, read_trace

DATA = Path(__file__).parents[2].parent / "shared" / "data"

SMALL = (
    (1300, 100, (0, 1, 2)), (2048, 1, (0, 1, 3, 4)), (1024, 600, (0, 1)), (1500, 30, (5, 6, 7)),
    (2048, 1, (0, 1, 3, 4)), (1200, 900, (5, 6, 8)), (1300, 1, (0, 1, 2)),
    (2560, 10, (5, 6, 13, 9, 10)), (2048, 5, (0, 1, 3, 4)), (600, 5, (0, 11)),
    (1536, 1, (5, 6, 12)), (2048, 1, (0, 1, 3, 4)),
)  # fmt: skip


def trace_of(requests, block_size=512) -> Trace:
    return Trace(
        "made up",
        block_size,
        partial_ids=True,
        requests=tuple(
            Request(None, prompt, output, tuple(ids)) for prompt, output, ids in requests
        ),
    )


@pytest.mark.parametrize(
    ("blocks", "mocker", "lmcache", "fifo", "lru", "optimal"),
    [
        (4, None, 5120, 512, 2048, 5632),
        (6, 7680, 8192, 2560, 4608, 7680),
        (7, 9216, 10752, 3584, 6144, 7956),
        (8, 10240, 10752, 2560, 6656, 7956),
        (9, 10240, 12800, 4884, 6932, 7956),
        (10, 10240, 12800, None, None, None),
    ],
)
def test_the_small_trace_gives_the_integers_of_the_three_programs(
    blocks, mocker, lmcache, fifo, lru, optimal
):
    trace = trace_of(SMALL)

    def hits(rules, policy):
        return RULES[rules].replay(trace, blocks=blocks, policy=policy).hit_tokens

    if mocker is None:
        with pytest.raises(InvalidConfig, match="the longest request needs 6"):
            hits("mocker", "lru")
    else:
        assert hits("mocker", "lru") == mocker
    assert hits("lmcache", "lru") == lmcache
    assert [hits("kvcache-sim", policy) for policy in ("fifo", "lru", "optimal")] == [
        fifo,
        lru,
        optimal,
    ]


def test_totals_of_the_small_trace():
    trace = trace_of(SMALL)
    assert RULES["mocker"].replay(trace, blocks=6, policy="lru").total_tokens == 19_212
    assert RULES["lmcache"].replay(trace, blocks=6, policy="lru").total_tokens == 19_212
    half = RULES["kvcache-sim"].replay(trace, blocks=10, policy="lru")
    assert half.total_tokens == 10_092
    assert half.hit_rate is None
    assert half.evictions is None
    assert half.note is not None
    assert "underfilled" in half.note


@cache
def published(name: str) -> Trace:
    path = DATA / f"mooncake_{name}.jsonl.xz"
    if not path.exists():
        pytest.skip(
            f"the trace {path.name} is not here: it lies in ../shared/data, not in the product"
        )
    return read_trace(path)


MOCKER = {
    "conversation": {
        1_000: 6_593_536, 2_000: 8_067_072, 5_000: 16_818_688, 10_000: 31_353_856,
        20_000: 42_703_872, 30_000: 48_247_296, 50_000: 52_339_712, 100_000: 53_720_576,
        None: 54_063_104,
    },
    "synthetic": {
        1_000: 5_304_320, 2_000: 9_326_592, 5_000: 17_626_112, 10_000: 26_973_696,
        20_000: 36_076_544, 30_000: 38_986_752, 50_000: 39_802_880, 100_000: 39_802_880,
        None: 39_802_880,
    },
}  # fmt: skip
LMCACHE = {
    "conversation": {
        1_000: (6_621_696, 262_558), 10_000: (31_741_952, 204_495),
        50_000: (52_525_568, 123_902), None: (54_063_104, 0),
    },
    "synthetic": {
        1_000: (5_227_520, 106_678), 10_000: (27_078_656, 55_000),
        50_000: (39_802_880, 0), None: (39_802_880, 0),
    },
}  # fmt: skip
KVCACHE_SIM = {
    "conversation": {
        1_000: (3_105_848, 3_173_822), 10_000: (12_434_391, 14_910_149),
        30_000: (20_662_642, 23_347_784),
    },
    "synthetic": {
        1_000: (4_447_597, 4_755_642), 10_000: (20_676_705, 22_061_940),
        30_000: (28_753_810, 30_623_566),
    },
}  # fmt: skip
TOTAL = {"conversation": 144_793_823, "synthetic": 61_194_628}
HALF = {"conversation": 67_915_607, "synthetic": 36_552_394}


def points(table):
    return [(name, blocks) for name, row in table.items() for blocks in row]


@pytest.mark.parametrize(("name", "blocks"), points(MOCKER))
def test_mocker_equals_dynamos_mocker_on_the_published_traces(name, blocks):
    result = RULES["mocker"].replay(published(name), blocks=blocks, policy="lru")
    assert result.hit_tokens == MOCKER[name][blocks]
    assert result.total_tokens == TOTAL[name]


@pytest.mark.parametrize(("name", "blocks"), points(LMCACHE))
def test_lmcache_equals_lmcaches_simulator_on_the_published_traces(name, blocks):
    result = RULES["lmcache"].replay(published(name), blocks=blocks, policy="lru")
    assert (result.hit_tokens, result.evictions) == LMCACHE[name][blocks]
    assert result.total_tokens == TOTAL[name]


@pytest.mark.parametrize(("name", "blocks"), points(KVCACHE_SIM))
def test_kvcache_sim_equals_mooncakes_simulator_on_the_published_traces(name, blocks):
    trace = published(name)
    results = [
        RULES["kvcache-sim"].replay(trace, blocks=blocks, policy=policy)
        for policy in ("fifo", "lru")
    ]
    assert tuple(result.hit_tokens for result in results) == KVCACHE_SIM[name][blocks]
    assert {result.total_tokens for result in results} == {HALF[name]}


def test_a_cache_larger_than_half_of_synthetic_is_underfilled():
    result = RULES["kvcache-sim"].replay(published("synthetic"), blocks=40_000, policy="lru")
    assert result.hit_tokens is None


BLOCK = 4


@st.composite
def traces(draw):
    """Requests over a random tree of prefixes: an id has one parent, as in real traces."""
    parent_of: list[int] = []
    requests = []
    for _ in range(draw(st.integers(1, 14))):
        path, node = [], -1
        for _ in range(draw(st.integers(1, 5))):
            children = [child for child, parent in enumerate(parent_of) if parent == node]
            pick = draw(st.integers(0, len(children)))
            if pick == len(children):
                parent_of.append(node)
                node = len(parent_of) - 1
            else:
                node = children[pick]
            path.append(node)
        prompt = BLOCK * len(path) - draw(st.integers(0, BLOCK - 1))
        requests.append((prompt, draw(st.integers(1, 9)), tuple(path)))
    return requests


@given(traces(), st.integers(1, 16))
def test_mocker_follows_the_prose_at_every_capacity(requests, blocks):
    trace = trace_of(requests, BLOCK)
    longest = max(-(-(prompt + output - 1) // BLOCK) for prompt, output, _ in requests)
    if blocks < longest:
        with pytest.raises(InvalidConfig):
            RULES["mocker"].replay(trace, blocks=blocks, policy="lru")
        return
    result = RULES["mocker"].replay(trace, blocks=blocks, policy="lru")
    expected = plain_rules.mocker(requests, blocks, BLOCK)
    assert (result.hit_tokens, result.evictions) == expected


@given(traces(), st.integers(1, 16))
def test_lmcache_follows_the_prose_at_every_capacity(requests, blocks):
    result = RULES["lmcache"].replay(trace_of(requests, BLOCK), blocks=blocks, policy="lru")
    assert (result.hit_tokens, result.evictions) == plain_rules.lmcache(requests, blocks, BLOCK)


@given(traces(), st.integers(1, 16), st.sampled_from(("fifo", "lru", "optimal")))
def test_kvcache_sim_follows_the_prose_at_every_capacity(requests, blocks, policy):
    result = RULES["kvcache-sim"].replay(trace_of(requests, BLOCK), blocks=blocks, policy=policy)
    assert result.hit_tokens == plain_rules.kvcache_sim(requests, blocks, BLOCK, policy)


@given(traces(), st.integers(14, 24), st.sampled_from(RULES["kvbm"].policies))
def test_kvbm_never_hits_more_than_an_infinite_cache(requests, blocks, policy):
    trace = trace_of(requests, BLOCK)
    result = RULES["kvbm"].replay(trace, blocks=blocks, policy=policy)
    infinite = RULES["kvbm"].replay(trace, blocks=None, policy=policy)
    assert result.hit_blocks <= infinite.hit_blocks
    assert infinite.evictions == 0
    assert (
        infinite.hit_tokens == RULES["mocker"].replay(trace, blocks=None, policy="lru").hit_tokens
    )


@given(traces(), st.integers(14, 24))
def test_kvbm_and_mocker_differ_only_where_a_hash_is_computed_twice(requests, blocks):
    unaligned = [(prompt - (prompt % BLOCK == 0), out, ids) for prompt, out, ids in requests]
    trace = trace_of(unaligned, BLOCK)
    ours = RULES["kvbm"].replay(trace, blocks=blocks, policy="lru")
    mocker = RULES["mocker"].replay(trace, blocks=blocks, policy="lru")
    assert ours.hit_tokens == mocker.hit_tokens
    assert ours.evictions == mocker.evictions


@pytest.mark.parametrize("rules", ["kvbm", "mocker", "lmcache", "kvcache-sim"])
def test_an_unknown_policy_is_refused_by_name(rules):
    with pytest.raises(InvalidConfig, match="policy = 'mru'"):
        RULES[rules].replay(trace_of(SMALL), blocks=8, policy="mru")


@pytest.mark.parametrize("rules", ["kvbm", "mocker", "lmcache", "kvcache-sim"])
def test_an_observer_sees_every_slot_and_every_eviction(rules):
    observer = Observer()
    policy = RULES[rules].default_policy
    result = RULES[rules].replay(trace_of(SMALL), blocks=8, policy=policy, observer=observer)
    samples = observer.samples()
    assert len(samples.occupancy) == len(SMALL)
    assert {empty + active + inactive for _, empty, active, inactive in samples.occupancy} == {8}
    assert sum(samples.eviction_ages.counts) == result.evictions


@pytest.mark.parametrize("rules", ["kvbm", "mocker", "lmcache", "kvcache-sim"])
def test_progress_ends_at_the_number_of_requests(rules):
    seen: list[int] = []
    policy = RULES[rules].default_policy
    RULES[rules].replay(trace_of(SMALL), blocks=8, policy=policy, progress=seen.append)
    assert seen == list(range(1, len(SMALL) + 1))


@given(traces(), st.integers(6, 16), st.sampled_from([2**62, 2**63, 2**64]))
def test_only_equality_of_ids_counts_however_large_they_are(requests, blocks, beyond):
    large = [(length, out, [beyond - 1 - i for i in ids]) for length, out, ids in requests]
    for name, rules in RULES.items():
        policy = "lru" if name == "kvbm" else rules.default_policy
        small, same = (
            rules.replay(trace_of(each, BLOCK), blocks=blocks + 8, policy=policy)
            for each in (requests, large)
        )
        assert (small.hit_tokens, small.evictions) == (same.hit_tokens, same.evictions)


def test_an_id_is_never_taken_for_a_block_of_an_answer():
    # The first answer gets the first invented key: whoever asks for that id must not hit it.
    trace = trace_of([(4, 5, (0,)), (8, 1, (2**62, 1))], BLOCK)
    for rules in ("kvbm", "mocker"):
        policy = RULES[rules].default_policy
        assert RULES[rules].replay(trace, blocks=4, policy=policy).hit_tokens == 0


@pytest.mark.parametrize("rules", ["kvbm", "mocker", "lmcache", "kvcache-sim"])
@pytest.mark.parametrize("blocks", [0, -3])
def test_a_cache_without_room_is_refused(rules, blocks):
    policy = RULES[rules].default_policy
    with pytest.raises(InvalidConfig, match=f"blocks = {blocks}"):
        RULES[rules].replay(trace_of([(1, 1, (0,))], 1), blocks=blocks, policy=policy)


@given(st.data())
def test_ids_that_come_back_under_other_parents_follow_the_prose_too(data):
    """No real trace has them, and nothing forbids them. Blocks of one token, and no answer."""
    size = data.draw(st.sampled_from([1, 2]))
    requests = []
    for ids in data.draw(st.lists(st.permutations(range(6)), min_size=1, max_size=6)):
        length = data.draw(st.integers(1, 5 * size))
        blocks = -(-length // size)
        requests.append((length, data.draw(st.integers(0, 3)), tuple(ids[:blocks])))
    counted = [(length, max(out, 1), ids) for length, out, ids in requests]
    longest = max(-(-(length + out - 1) // size) for length, out, _ in counted)
    capacity = longest + data.draw(st.integers(0, 3))
    trace = trace_of(requests, size)
    mocker = RULES["mocker"].replay(trace, blocks=capacity, policy="lru")
    assert (mocker.hit_tokens, mocker.evictions) == plain_rules.mocker(counted, capacity, size)
    lmcache = RULES["lmcache"].replay(trace, blocks=capacity, policy="lru")
    assert (lmcache.hit_tokens, lmcache.evictions) == plain_rules.lmcache(requests, capacity, size)
    for policy in ("fifo", "lru", "optimal"):
        tree = RULES["kvcache-sim"].replay(trace, blocks=capacity, policy=policy)
        assert tree.hit_tokens == plain_rules.kvcache_sim(requests, capacity, size, policy)
