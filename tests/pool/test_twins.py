"""Every compiled loop does what its Python text does, on whatever a pool asks of it.

While a pool works, each compiled function is replaced by a `Twin`: it runs the interpreted text
on copies of the arguments, then the machine code on the arguments, and compares what both did.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kvbm.blocks import BlockList, State, slots
from kvbm.pool import POLICIES, BlockPool, EvictionMode, registry, rings, sketch
from kvbm.pool.policies import MultiLruPolicy, make_policy, queued

MODULES = (slots, registry, rings, sketch, queued)
COMPILED = {
    f"{module.__name__}.{name}": (module, name)
    for module in MODULES
    for name, function in vars(module).items()
    if hasattr(function, "py_func")
}


def plain(value: Any) -> Any:
    """Copy an argument into what interpreted code can work on."""
    if not isinstance(value, np.ndarray):
        return value
    copied = value.copy()
    return copied.view(np.recarray) if copied.dtype.names else copied


class Twin:
    """A compiled function and its text, called together and compared."""

    depth = 0

    def __init__(self, name: str, function: Any, calls: Counter[str]) -> None:
        self.name, self.function, self.calls = name, function, calls

    def __call__(self, *arguments: Any) -> Any:
        self.calls[self.name] += 1
        if Twin.depth:  # called by interpreted text: stay there
            return self.function.py_func(*arguments)
        copies = [plain(argument) for argument in arguments]
        Twin.depth += 1
        try:
            with np.errstate(over="ignore"):  # hashes wrap around
                expected, failed = self.function.py_func(*copies), None
        except ValueError as error:
            expected, failed = None, str(error)
        finally:
            Twin.depth -= 1
        if failed is not None:
            with pytest.raises(ValueError, match=failed):
                self.function(*arguments)
            raise ValueError(failed)
        answer = self.function(*arguments)
        assert self.same(answer, expected), f"{self.name}: {answer} and {expected}"
        for copied, argument in zip(copies, arguments, strict=True):
            assert self.same(argument, copied), f"{self.name} left\n{argument}\nand\n{copied}"
        return answer

    @staticmethod
    def same(one: Any, other: Any) -> bool:
        if isinstance(one, np.ndarray):
            return one.tobytes() == np.asarray(other).tobytes()
        return bool(one == other)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    for name, (module, attribute) in COMPILED.items():
        twin = Twin(name, getattr(module, attribute), counted)
        monkeypatch.setattr(module, attribute, twin)
    # Uninitialised room for answers would differ where neither twin has written.
    monkeypatch.setattr(np, "empty", np.zeros)
    monkeypatch.setattr(np, "empty_like", np.zeros_like)
    return counted


def walk(pool: BlockPool, seed: int, steps: int) -> None:
    """Do everything at random."""
    chance = random.Random(seed)
    held: list[Any] = []
    for _ in range(steps):
        path = list(range(start := chance.randrange(8), start + chance.randrange(1, 4)))
        what = chance.randrange(8)
        if what < 4 and pool.available_blocks() >= len(path):
            blocks = pool.allocate_blocks(len(path))
            blocks.set_priority(chance.randrange(3))
            if chance.random() < 0.8:
                blocks.stage(path, parent=chance.choice([None, path[0] - 1 if path[0] else 0]))
                held.append(pool.register_blocks(blocks))
            else:
                held.append(blocks)
        elif what == 4:
            held.append(pool.match_sequence_hashes(path))
        elif what == 5:
            held += pool.scan_matches(path).values()
            pool.touch_blocks(path)
        elif what == 6:
            pool.reset_blocks(path)
            pool.trigger_eviction(chance.choice(list(EvictionMode)))
        else:
            pool.available_blocks()  # lets in what was dropped
            empty = np.flatnonzero(pool.slots.records["state"] == State.EMPTY).tolist()
            chosen = list(zip(empty, path, strict=False))
            parents = [chance.choice([None, name + 1]) for _, name in chosen]
            slots, names = [slot for slot, _ in chosen], [name for _, name in chosen]
            pool.restore(slots, names, parents, [0] * len(names), names)
        for _ in range(chance.randrange(3)):
            if held:
                held.pop(chance.randrange(len(held)))
        if chance.random() < 0.02:
            pool.add_blocks(1)


@pytest.mark.parametrize("duplicates", ["reject", "allow"])
def test_machine_code_does_what_the_text_says(calls: Counter[str], duplicates: str) -> None:
    small = MultiLruPolicy((1, 2, 3), sketch.FrequencySketch(8))
    for seed, policy in enumerate([*(make_policy(name) for name in sorted(POLICIES)), small]):
        walk(BlockPool(8, policy=policy, duplicates=duplicates), seed, 80)
    assert set(calls) == set(COMPILED), "each was called"


def test_both_refuse_to_release_what_nobody_holds(calls: Counter[str]) -> None:
    with pytest.raises(ValueError, match="KV-LIF-07"):
        slots.Slots(1).release(np.array([0]))
    table, records = registry.Registry(2), slots.Slots(2).records
    with pytest.raises(ValueError, match="KV-REG-04"):
        table.erase(records, np.array([0]))
    assert calls["kvbm.blocks.slots._release"] == 1


def test_a_twin_that_differs_is_seen(calls: Counter[str]) -> None:
    class Liar:
        @staticmethod
        def py_func(array: Any) -> int:
            array[0] += 1
            return 0

        def __call__(self, array: Any) -> int:
            return self.answer(array)

        def __init__(self, answer: Callable[[Any], int]) -> None:
            self.answer = answer

    with pytest.raises(AssertionError, match="1 and 0"):
        Twin("liar", Liar(lambda _: 1), calls)(np.zeros(1))
    with pytest.raises(AssertionError, match="left"):
        Twin("liar", Liar(lambda _: 0), calls)(np.zeros(1))
    assert isinstance(BlockPool(1).allocate_blocks(1), BlockList)
