"""The JSON form of a result."""

from __future__ import annotations

from dataclasses import replace

from kvbm.replay.result import ReplayResult

RESULT = ReplayResult("kvbm", "lru", 10, 3, 4, 8, 50, 100, 0.5, 2, 0.25)


def test_json_has_every_field_under_its_name() -> None:
    assert RESULT.as_json() == {
        "rules": "kvbm",
        "policy": "lru",
        "blocks": 10,
        "requests": 3,
        "hit_blocks": 4,
        "total_blocks": 8,
        "hit_tokens": 50,
        "total_tokens": 100,
        "hit_rate": 0.5,
        "evictions": 2,
        "seconds": 0.25,
    }


def test_a_note_is_in_the_json_when_there_is_one() -> None:
    assert replace(RESULT, note="underfilled").as_json()["note"] == "underfilled"
