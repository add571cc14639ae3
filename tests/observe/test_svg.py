"""Markup is written once, and escaped once."""

from __future__ import annotations

from kvbm.observe.svg import picture, tag, text, tooltip

EVIL = "<b a=\"1\" c='2'>&"


def test_data_is_escaped_and_children_are_not() -> None:
    for written in (tag("g", label=EVIL), text(0, 0, EVIL), tooltip(EVIL), picture(1, 1, EVIL)):
        assert "<b" not in written
        assert written.count('"') % 2 == 0
        assert "&amp;" in written
    assert tag("g", tag("line")) == "<g><line></line></g>"
