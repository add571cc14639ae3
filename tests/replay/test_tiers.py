from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.cli import main
from kvbm.errors import InvalidConfig
from kvbm.replay import tiers
from kvbm.replay.pattern import fill_blocks, mix, wrong_blocks
from kvbm.replay.rules import RULES
from kvbm.replay.tiers import TierSizes, replay_tiers
from kvbm.replay.workload import generate

TRACE = generate(3, 60)
NUMBERS = st.integers(0, 2**64 - 1)


def plain_mix(number):
    """SplitMix64 with Python's integers."""
    mask = 2**64 - 1
    z = (number + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


@pytest.mark.parametrize(
    ("number", "mixed"),
    [
        (0, 0xE220A8397B1DCDAF),
        (1, 0x6E789E6AA1B965F4),
        (2, 0x06C45D188009454F),
        (255, 0x5A5832BB47BCF19E),
        (2**32, 0x46093CF9861EC2E4),
    ],
)
def test_known_values_of_the_mixing_function(number, mixed):
    assert plain_mix(number) == mixed == mix(np.uint64(number))


@given(NUMBERS, NUMBERS, st.integers(0, 3), st.integers(0, 31))
def test_a_block_holds_the_words_of_its_hash_and_any_other_word_is_wrong(name, other, slot, k):
    words = np.zeros((4, 4), np.uint64)
    ids, hashes = np.array([slot]), np.array([name], np.uint64)
    fill_blocks(words, ids, hashes)
    assert words[slot].tolist() == [plain_mix(name ^ plain_mix(i)) for i in range(4)]
    assert wrong_blocks(words, ids, hashes) == 0
    assert wrong_blocks(words, ids, np.array([other], np.uint64)) == (other != name)
    words.view(np.uint8)[slot, k] ^= 1
    assert wrong_blocks(words, ids, hashes) == 1


def test_one_tier_with_bytes_equals_the_replay_without():
    with_bytes = replay_tiers(TRACE, TierSizes(400))
    without = RULES["kvbm"].replay(TRACE, blocks=400, policy="priority")
    assert with_bytes.hit_blocks == without.hit_blocks
    assert with_bytes.hit_tokens == without.hit_tokens
    assert with_bytes.evictions == without.evictions
    assert with_bytes.tiers.hit_blocks == {"device": without.hit_blocks}
    assert with_bytes.tiers.wrong_blocks == 0


@pytest.mark.clause("KV-TIR-08", "KV-TIR-10", "KV-INT-01")
def test_large_tiers_find_all_that_an_infinite_cache_finds_and_no_byte_is_wrong():
    infinite = RULES["kvbm"].replay(TRACE, blocks=None, policy="priority")
    result = replay_tiers(TRACE, TierSizes(200, 400, 8_000))
    assert result.hit_blocks == infinite.hit_blocks > 0
    assert result.tiers.wrong_blocks == 0
    assert all(result.tiers.hit_blocks.values()), "a tier that never hit was not tried"
    assert result.tiers.moved_bytes > 0


def test_the_same_replay_gives_the_same_numbers():
    sizes = TierSizes(200, 300, 400)
    first, second = (replay_tiers(TRACE, sizes, policy="multi-lru") for _ in range(2))
    assert first.tiers.hit_blocks == second.tiers.hit_blocks
    assert first.tiers.evictions == second.tiers.evictions


def test_a_wrong_byte_is_counted(monkeypatch):
    def careless(words, ids, hashes):
        fill_blocks(words, ids, hashes)
        if len(ids):
            words[ids[0], 3] ^= np.uint64(1)

    monkeypatch.setattr(tiers, "fill_blocks", careless)
    assert replay_tiers(TRACE, TierSizes(400)).tiers.wrong_blocks > 0
    assert replay_tiers(TRACE, TierSizes(400), verify=False).tiers.wrong_blocks is None


def test_sizes_are_checked():
    with pytest.raises(InvalidConfig, match="--device = 0"):
        TierSizes(0, 5)
    with pytest.raises(InvalidConfig, match="the longest request needs"):
        replay_tiers(TRACE, TierSizes(3))


def run(capsys, *arguments):
    assert main(["replay", "--requests", "30", "--blocks", "400", *arguments]) == 0
    return capsys.readouterr().out


def test_the_object_has_the_numbers_of_each_tier(capsys):
    sizes = ("--device", "200", "--host", "300", "--disk", "400", "--verify")
    printed = json.loads(run(capsys, "--json", "--policy", "lru", *sizes))
    assert set(printed["tiers"]) == {"device", "host", "disk"}
    assert set(printed["tiers"]["disk"]) == {"blocks", "hit_blocks", "hit_tokens", "evictions"}
    assert printed["wrong_blocks"] == 0
    assert printed["hit_blocks"] == sum(tier["hit_blocks"] for tier in printed["tiers"].values())
    assert printed["results"][0]["tiers"] == printed["tiers"]
    assert "tiers" not in printed["results"][1]


def test_the_table_and_the_page_show_the_tiers(capsys, tmp_path):
    html = tmp_path / "page.html"
    sizes = ("--device", "200", "--host", "300", "--verify")
    printed = run(capsys, "--policy", "lru", "--html", str(html), *sizes)
    assert "through 2 tiers (lru)" in printed
    assert "0 wrong blocks" in printed
    assert "Through 2 tiers, with real bytes (lru)" in html.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--verify"], "needs tiers"),
        (["--host", "5"], "--device = 0"),
        (["--device", "400", "--rules", "mocker"], "--rules = 'mocker'"),
    ],
)
def test_what_cannot_be_replayed_with_bytes_is_refused(capsys, arguments, complaint):
    assert main(["replay", "--requests", "3", *arguments]) == 2
    assert complaint in capsys.readouterr().err
