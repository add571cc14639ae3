"""The wide pool, the oracle of these tests, keeps its own rules and copies no product."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wide_pool
import wide_tier
from wide_pool import Content, Model, Refused

CALLS: list[Callable[[Model], Any]] = [
    lambda model: model.allocate(1),
    lambda model: model.stage([max(model.handles, default=0)], ["a"]),
    lambda model: model.stage([max(model.handles, default=0)], ["b"], "a"),
    lambda model: model.register([max(model.handles, default=0)]),
    lambda model: model.release([min(model.handles, default=0)]),
    lambda model: model.match(["a", "b"]),
    lambda model: model.touch(["a"]),
    lambda model: model.pin(["a"]),
    lambda model: model.unpin(["a"]),
    lambda model: model.evict(1),
    lambda model: model.reset(),
]


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("policy", ["priority", "lineage-fifo"])
def test_all_short_histories_keep_the_rules_and_copies_go_their_own_way(
    policy: str, allow: bool
) -> None:
    """Breadth first over all states that a few calls reach: equal states are one state."""
    start = Model(2, policy=policy, allow_duplicates=allow)
    seen = {start.state()}
    edge = [start]
    for _ in range(10):
        following = []
        for model in edge:
            before = model.state(), list(model.events)
            for call in CALLS:
                twin = model.copy()
                try:
                    call(twin)
                except Refused:
                    assert twin.state() == before[0], "a refusal changes nothing"
                    assert twin.events == before[1]
                    continue
                twin.check()
                assert (model.state(), model.events) == before, "a copy is a copy"
                if twin.state() not in seen:
                    seen.add(twin.state())
                    following.append(twin)
        edge = following
    assert len(seen) > 100


def test_the_model_knows_nothing_of_what_it_judges() -> None:
    for module in (wide_pool, wide_tier):
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        names = [
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in [getattr(node, "module", None) or node.names[0].name]
        ]
        assert names
        assert not [name for name in names if name.split(".")[0] in ("kvbm", "numpy", "numba")]


def test_the_check_sees_what_cannot_be() -> None:
    for break_it, words in (
        (lambda model: model.empty.append(0), "KV-CAP-02"),
        (lambda model: model.slots[0].holders.clear(), None),
        (lambda model: model.registry.clear(), "KV-REG-04"),
    ):
        model = Model(2)
        (handle,) = model.allocate(1)
        model.fill([handle], [Content("a")])
        model.register([handle])
        model.check()
        break_it(model)
        with pytest.raises(AssertionError, match=words):
            model.check()
