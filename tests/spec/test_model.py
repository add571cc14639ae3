"""The model agrees with an older description of the same pool, and is as pure as it says.

`wide_pool` was written in another way: a mutable class with ticks, that works out an order of
eviction anew for every victim. Here every short history is told to both.
"""

from __future__ import annotations

import ast
import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kvbm_spec.invariants
import kvbm_spec.model
import kvbm_spec.orders
import kvbm_spec.state
import pytest
import wide_pool
from kvbm_spec.model import CALLS
from kvbm_spec.orders import POLICIES
from kvbm_spec.state import Refused, Rules, State, canonical, start, victims

Call = tuple[str, tuple[Any, ...]]


def calls(state: State) -> Iterator[Call]:
    """Give all calls with two keys, on every handle, and on one that is dead."""
    for n in range(len(state.slots) + 2):
        yield "allocate", (n,)
    live = [handle for handle, slot in enumerate(state.handles) if slot is not None]
    dead = [handle for handle, slot in enumerate(state.handles) if slot is None]
    for handle in [*live, *dead[-1:], len(state.handles)]:
        for key, parent in ((0, None), (1, 0), (1, None)):
            yield "stage", (handle, key, parent)
        for name in ("register", "release", "reset"):
            yield name, (handle,)
    for keys in ((0,), (1,), (0, 1), (1, 0, 1)):
        yield "match", (keys,)
        yield "scan", (keys,)


class Both:
    """The pure model, and the wide pool that was told the same."""

    def __init__(self, slots: int, rules: Rules) -> None:
        self.state = start(slots, rules)
        self.wide = wide_pool.Model(
            slots,
            policy=rules.policy,
            allow_duplicates=rules.duplicates == "allow",
            hold_parents=rules.holds_parents,
        )
        self.names: dict[int, int] = {}  # handle of the model -> handle of the wide pool

    def after(self, call: Call) -> Both | None:
        """Tell both; None if they refuse it, for the same reason and with nothing changed."""
        other = Both.__new__(Both)
        other.wide, other.names = self.wide.copy(), {**self.names}
        other.wide.events = []
        before = repr(self.state)
        wide, expected = _tried(lambda: other.ask(*call))
        mine, refused = _tried(lambda: CALLS[call[0]](self.state, *call[1]))
        assert refused == expected, call
        assert repr(self.state) == before, "a state never changes"
        if refused is not None:
            return None
        other.state, answer, events = mine
        told = [
            ("Stored", item.name) if kind == "stored" else ("Removed", item)
            for kind, items in other.wide.events
            for item in items
        ]
        assert list(events) == told, call
        other.bind(answer, wide)
        other.compare()
        return other

    def ask(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Make a call of the wide pool. It takes lists, and keeps a handle that it can."""
        if name in ("allocate", "match", "scan"):
            return getattr(self.wide, name)(*arguments)
        handle = self.names.pop(arguments[0], -1)
        if name == "stage":
            self.wide.stage([handle], [arguments[1]], arguments[2])
        elif name == "reset":
            self.wide.clear_block(handle)
        elif name == "release":
            return self.wide.release([handle])
        else:
            return self.wide.register([handle])[0]
        return handle

    def bind(self, answer: Any, wide: Any) -> None:
        """Note which handles are the same."""
        if isinstance(answer, dict):
            assert [*answer] == [*wide]
            answer, wide = [*answer.values()], [*wide.values()]
        if isinstance(answer, int):
            answer, wide = [answer], [wide]
        self.names |= zip(answer or [], wide or [], strict=True)

    def compare(self) -> None:
        """Compare all that there is."""
        mine, theirs = self.state, self.wide
        assert mine.known == theirs.registry
        assert mine.available == theirs.available
        assert list(mine.empty) == theirs.empty
        live = {handle: slot for handle, slot in enumerate(mine.handles) if slot is not None}
        assert live == {handle: theirs.handles[name] for handle, name in self.names.items()}
        for slot, other in zip(mine.slots, theirs.slots, strict=True):
            assert (slot.state, slot.holders) == (other.state, len(other.holders))
            assert (slot.holds is None) == (other.holds is None)
            name = None if other.content is None else (other.content.name, other.content.parent)
            assert name == (None if slot.key is None else (slot.key, slot.parent))
        assert [mine.known[key] for key in victims(mine)] == theirs.order()

    def value(self) -> State:
        """Give all that decides about later calls."""
        return canonical(self.state)


def _tried(call: Callable[[], Any]) -> tuple[Any, str | None]:
    """Give the answer, or the kind of refusal."""
    try:
        return call(), None
    except (Refused, wide_pool.Refused) as refusal:
        return None, refusal.kind


@pytest.mark.clause("KV-LIF-01", "KV-LIF-02", "KV-CAP-06", "KV-REG-01", "KV-REG-02", "KV-EVT-04")
@pytest.mark.parametrize("holds_parents", [False, True])
@pytest.mark.parametrize("duplicates", ["reject", "allow"])
@pytest.mark.parametrize("policy", POLICIES)
def test_no_short_history_tells_the_model_from_the_wide_pool(
    policy: str, duplicates: str, holds_parents: bool
) -> None:
    """Breadth first over all states of three slots, but of `multi-lru`, which counts uses."""
    first = Both(3, Rules(policy, duplicates, holds_parents))
    seen, edge = {first.value()}, deque([first])
    while edge and (policy != "multi-lru" or len(seen) < 600):
        here = edge.popleft()
        for call in calls(here.state):
            there = here.after(call)
            if there is not None and len(there.names) <= 4 and there.value() not in seen:
                seen.add(there.value())
                edge.append(there)
    assert len(seen) > 300


@pytest.mark.clause("KV-EVC-02", "KV-EVC-04", "KV-EVC-08")
@pytest.mark.parametrize("holds_parents", [False, True])
@pytest.mark.parametrize("duplicates", ["reject", "allow"])
@pytest.mark.parametrize("policy", POLICIES)
def test_no_long_history_tells_the_model_from_the_wide_pool(
    policy: str, duplicates: str, holds_parents: bool
) -> None:
    """Seven keys in whatever tree, changed parents and a key that is its own among them."""
    choose = random.Random(f"{policy} {duplicates} {holds_parents}")
    evicted = 0
    for _ in range(4):
        pair = Both(6, Rules(policy, duplicates, holds_parents))
        for _ in range(300):
            there = pair.after(any_call(pair.state, choose)) or pair
            evicted += any(kind == "removed" for kind, _ in there.wide.events)
            pair = there
    assert evicted > 10


@pytest.mark.clause("KV-EVC-02", "KV-EVC-04")
def test_a_tie_that_would_close_a_circle_is_made_once_the_circle_is_open() -> None:
    """K2 comes from K0, K1 from K2, and K0 from K1: the last of these is not believed at first."""
    pair = Both(3, Rules("lineage"))

    def tell(name: str, *arguments: Any) -> None:
        nonlocal pair
        pair = pair.after((name, arguments)) or pair

    def rest(key: int, parent: int | None) -> None:
        tell("allocate", 1)
        for name, *more in (("stage", key, parent), ("register",), ("release",)):
            tell(name, len(pair.state.handles) - 1, *more)

    def use(key: int) -> None:
        tell("match", (key,))
        tell("release", len(pair.state.handles) - 1)

    for key, parent in ((2, 0), (1, 2), (0, 1)):
        rest(key, parent)
    assert victims(pair.state) == [1, 2, 0]
    tell("allocate", 1)
    tell("release", len(pair.state.handles) - 1)
    assert [*pair.state.known] == [2, 0], "K1 was evicted"
    use(0)
    rest(1, None)
    use(0)
    assert victims(pair.state) == [2, 0, 1]


FITS = {"reset": "stage", "complete": "register", "active": "release", "duplicate": "release"}


def any_call(state: State, choose: random.Random) -> Call:
    """Make up a call, more often than not one that is not refused."""
    key = choose.randrange(7)
    parent = choose.choice((None, key // 2, key // 2, key - 1, 6))
    keys = choose.choice(((key,), (key // 4, key // 2, key), (0, 1, 2, 3), (key, key)))
    live = [handle for handle, slot in enumerate(state.handles) if slot is not None]
    name = choose.choice(("allocate", "match", "scan", "reset", *["on a handle"] * 5))
    if name == "allocate":
        return name, (choose.randrange(4),)
    if name in ("match", "scan"):
        return name, (keys,)
    handle = choose.choice([*live * 9, len(state.handles) // 2])
    slot = state.handles[handle] if live else None
    if name != "reset":
        fit = choose.choice([*FITS.values()]) if slot is None else FITS[state.slots[slot].state]
        name = choose.choice((fit, fit, fit, "release"))
    return name, ((handle, key, parent) if name == "stage" else (handle,))


def test_the_model_is_pure_and_knows_nothing_of_what_it_judges() -> None:
    """Its modules import each other, the table, and nothing that a call could leave a mark in."""
    for module in (kvbm_spec.model, kvbm_spec.state, kvbm_spec.orders, kvbm_spec.invariants):
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        imported = {
            getattr(node, "module", None) or node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported <= {
            *("__future__", "collections", "collections.abc", "functools", "itertools", "typing"),
            *("kvbm_spec.lifecycle", "kvbm_spec.orders", "kvbm_spec.state"),
        }
        stores = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Global | ast.Nonlocal | ast.Delete)
            or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
        ]
        assert [ast.unparse(node) for node in stores] in ([], ["self.kind"])
