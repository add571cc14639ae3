"""The pool against the wide pool of the oracles: every call, answer, refusal and slot.

`Pair` holds one pool and one model and makes the same calls on both. The state machine chooses
the calls; so do two interleaved clients. What is compared after each step is all there is: the
state, name, holders and priority of each slot, the queue of empty slots, the order of eviction,
the registry, the events and the counters.
"""

from __future__ import annotations

import faulthandler
import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from wide_pool import Content, Model, Refused

from kvbm.blocks import BlockList, CompleteBlock, ImmutableBlock, MutableBlock, State, WeakBlock
from kvbm.blocks.handles import Block
from kvbm.errors import KvbmError, StaleHandleError
from kvbm.events import EventLog, Mirror
from kvbm.identity import PartialTokenBlock, TokenBlock
from kvbm.pool import POLICIES, BlockPool, EvictionMode

BLOCK_SIZE = 4
ALL_ONES = (1 << 64) - 1

PARENTS = (None, 0, 1, 2, 1, None, 5, 6, 0, None, 10, 11)
"""A little forest of names by index; the tenth and eleventh name themselves or no name at all."""

NAMES: dict[str, list[Any]] = {
    "dynamo": [0, 1, ALL_ONES, 1 << 63, 4, 5, 6, 7, 8, 9, 10, 11],
    # 1 << 64 has the key of 1, and 2 << 64 | 7 that of 5: each pair shares a place in the table.
    "lineage": [0, 1, (1 << 128) - 1, 1 << 127, 4, 5, 6, 1 << 64, 2 << 64 | 7, 9, 10, 11],
    "sha256": [bytes([index]) * 31 + bytes([index & 1]) for index in range(12)],
}


def path_to(index: int | None) -> list[int]:
    """Give the indices of a name's ancestors and its own, first block first."""
    if index is None or index not in range(12) or PARENTS[index] == index:
        return [] if index is None else [index]
    return [*path_to(PARENTS[index]), index] if index < 10 else [index]


def key_of(name: int | bytes) -> int:
    """Fold a long name to 64 bits, written independently of the pool's own."""
    number = int.from_bytes(name, "big") if isinstance(name, bytes) else name
    words = [number >> 64 * word & ALL_ONES for word in range(4)]
    return functools.reduce(int.__xor__, words)


paths = st.one_of(
    st.sampled_from([path_to(index) for index in range(12)]),
    st.lists(st.integers(0, 11), max_size=5),
)
picks = st.integers(0, 99)
names = st.integers(0, 11)
policies = sorted(POLICIES)


@dataclass
class Holding:
    """The same blocks twice: as a real guard and as handles of the model."""

    real: Any
    handles: list[int]

    def is_list_of(self, kind: type) -> bool:
        return isinstance(self.real, BlockList) and self.real._kind is kind


class Pair:
    """A pool and a model that are told the same."""

    def __init__(
        self,
        total: int,
        policy: str = "priority",
        *,
        allow: bool = False,
        scheme: str = "dynamo",
        verify: bool = False,
    ) -> None:
        self.log = EventLog()
        self.pool = BlockPool(
            total,
            page_size=BLOCK_SIZE,
            policy=policy,
            duplicates="allow" if allow else "reject",
            scheme=scheme,
            verify_tokens=verify,
            events=self.log,
        )
        self.model = Model(
            total,
            block_size=BLOCK_SIZE,
            policy=policy,
            allow_duplicates=allow,
            verify_tokens=verify,
            key=key_of,
        )
        self.scheme = scheme
        self.names = NAMES[scheme]
        self.reader = self.log.reader(0)
        self.mirror = Mirror()

    def both(self, real: Callable[[], Any], model: Callable[[], Any]) -> tuple[Any, Any] | None:
        """Make one call on both; None if both refuse it, for the same reason."""
        before = self.model.state()
        try:
            predicted, refused = model(), None
        except Refused as refusal:
            predicted, refused = None, refusal.kind
            assert self.model.state() == before, "a refused call changes nothing"
        # No pytest.raises: it keeps the frames of the call, and they keep blocks alive.
        try:
            answer, reason = real(), None
        except KvbmError as error:
            answer, reason = None, error.kind.value
        assert reason == refused
        return None if refused else (answer, predicted)

    def same_blocks(self, real: Sequence[Block], handles: Sequence[int]) -> None:
        slots = [self.model.handles[handle] for handle in handles]
        ids = real.block_ids if isinstance(real, BlockList) else [b.block_id for b in real]
        assert ids == slots

    def hold(self, answer: tuple[Any, list[int]] | None) -> Holding | None:
        """Note an answer that is a list of blocks, once it is compared."""
        if answer is None:
            return None
        self.same_blocks(*answer)
        return Holding(*answer)

    def token_block(self, index: int, parent: int | None, variant: int) -> TokenBlock:
        tokens = np.full(BLOCK_SIZE, index + 100 * variant, np.uint32)
        above = None if parent is None else self.names[parent]
        position = 0 if parent is None else 1
        return TokenBlock(tokens, BLOCK_SIZE, 0, 0, self.names[index], above, position, self.scheme)

    def content(self, index: int, parent: int | None, variant: int) -> Content:
        block = self.token_block(index, parent, variant)
        tokens = tuple(block.tokens.tolist())
        return Content(block.sequence_hash, block.parent_sequence_hash, block.position, tokens)

    def unpin_all(self) -> None:
        for slot in self.model.slots:
            for _ in range(slot.holders.count("pin")):
                self.pool.unpin_blocks([slot.content.name])
                self.model.unpin([slot.content.name])

    def compare(self) -> None:
        """Compare all there is."""
        pool, model = self.pool, self.model
        assert pool.available_blocks() == model.available  # lets in what was dropped
        pool._check()
        model.check()
        records = pool.slots.records
        for slot, (record, twin) in enumerate(zip(records, model.slots, strict=True)):
            state = State(int(record["state"])).name.lower()
            assert state == twin.state, f"slot {slot}"
            assert record["refs"] == len(twin.holders), f"KV-OWN-03: holders of slot {slot}"
            assert record["pins"] == twin.holders.count("pin")
            assert record["priority"] == twin.priority, f"priority of slot {slot}"
            if twin.content is not None:
                seen = pool.slots.name_of(slot), pool.slots.parent_name_of(slot)
                assert seen == (twin.content.name, twin.content.parent), f"slot {slot}"
                assert record["position"] == twin.content.position
        filled = {slot for slot, twin in enumerate(model.slots) if twin.content is not None}
        assert set(pool.slots.names) == (set() if self.scheme == "dynamo" else filled)
        partial = {slot for slot, twin in enumerate(model.slots) if twin.state == "partial"}
        with_tokens = {slot for slot in filled if model.slots[slot].content.tokens is not None}
        assert set(pool.slots.contents) == partial | with_tokens, "KV-LIF-04, KV-LIF-08"
        assert pool._core._empty.order().tolist() == model.empty
        assert pool._core.policy.order().tolist() == model.order()
        assert len(pool._core.policy) == model.count("inactive")
        assert pool._core.registry.entries() == model.registry
        self.compare_events()
        self.compare_numbers()

    def compare_events(self) -> None:
        model = self.model
        for batch in self.reader.read():
            self.mirror.apply(batch)
            kind, blocks = model.events[batch.number]
            assert batch.change.kind.value == kind
            if kind == "removed":
                assert tuple(batch.change.sequence_hashes) == blocks
                continue
            told = [
                Content(
                    block.sequence_hash,
                    block.parent_sequence_hash,
                    block.position,
                    None if block.tokens is None else tuple(block.tokens.tolist()),
                )
                for block in batch.change.blocks
            ]
            assert tuple(told) == blocks
        assert self.log.next_number == len(model.events)
        registered = {("device", name) for name in model.names()}
        assert self.mirror.stored == registered, "KV-EVT-01"
        assert self.pool.snapshot().stored == registered

    def compare_numbers(self) -> None:
        now, model = self.pool.statistics(), self.model
        assert now.empty + now.owned + now.active + now.inactive + now.duplicates == now.total
        assert now.total == len(model.slots)
        assert now.available == model.available
        assert now.active == model.count("active")
        assert now.duplicates == model.count("duplicate")
        assert now.owned == model.count("reset", "partial", "complete")
        assert now.pinned == sum("pin" in slot.holders for slot in model.slots)
        assert now.collisions == model.collisions
        stored = [name for kind, names in model.events if kind == "stored" for name in names]
        assert now.registered == len(stored)


class PoolMachine(RuleBasedStateMachine):
    """All operations, in any order, on one pool and its model."""

    policy = "priority"

    def __init__(self) -> None:
        super().__init__()
        self.holdings: list[Holding] = []
        self.weak: list[tuple[WeakBlock, Any]] = []
        self.dead: list[Holding] = []
        self.pair = Pair(4)

    @initialize(
        total=st.integers(1, 7),
        allow=st.booleans(),
        scheme=st.sampled_from(["dynamo", "dynamo", "lineage", "sha256"]),
        verify=st.booleans(),
    )
    def begin(self, total: int, allow: bool, scheme: str, verify: bool) -> None:
        self.pair = Pair(total, self.policy, allow=allow, scheme=scheme, verify=verify)
        self.pool, self.model = self.pair.pool, self.pair.model

    # ── choosing ──────────────────────────────────────────────────────────────────────────

    def pick(self, number: int, *kinds: type) -> Holding | None:
        """Choose a list of blocks, or a block, of one of `kinds`."""
        able = [
            holding
            for holding in self.holdings
            if isinstance(holding.real, kinds)
            or (isinstance(holding.real, BlockList) and holding.real._kind in kinds)
        ]
        return able[number % len(able)] if able else None

    def use_up(self, holding: Holding) -> None:
        self.holdings = [other for other in self.holdings if other is not holding]
        self.dead = [*self.dead[-3:], holding]

    def keep(self, answer: tuple[Any, list[int]] | None) -> None:
        holding = self.pair.hold(answer)
        if holding is not None and (holding.handles or not self.holdings):
            self.holdings.append(holding)

    def keep_block(self, block: Block, handle: int) -> None:
        self.pair.same_blocks([block], [handle])
        self.holdings.append(Holding(block, [handle]))

    def spelled(self, indices: Sequence[int], form: int) -> Any:
        """Write hashes as a list, a tuple or an array."""
        hashes = [self.pair.names[index] for index in indices]
        if form % 3 == 2 and self.pair.scheme == "dynamo":
            return np.array(hashes, np.uint64)
        return tuple(hashes) if form % 3 == 1 else hashes

    # ── the owner ─────────────────────────────────────────────────────────────────────────

    @rule(count=st.integers(0, 5))
    def allocate(self, count: int) -> None:
        self.keep(
            self.pair.both(
                lambda: self.pool.allocate_blocks(count), lambda: self.model.allocate(count)
            )
        )

    @rule(number=picks, indices=paths, parent=st.none() | names, position=st.integers(0, 3))
    def stage(self, number: int, indices: list[int], parent: int | None, position: int) -> None:
        holding = self.pick(number, MutableBlock)
        if holding is None:
            return
        # As many names as there are blocks, along the path, and then from its start again.
        count = len(holding.handles)
        indices = [indices[i % len(indices)] if indices else i for i in range(count)]
        hashes = [self.pair.names[index] for index in indices]
        above = None if parent is None else self.pair.names[parent]

        def real() -> Any:
            if isinstance(holding.real, BlockList):
                return holding.real.stage(hashes, parent=above, position=position)
            return holding.real.stage(hashes[0], above, position)

        done = self.pair.both(
            real, lambda: self.model.stage(holding.handles, hashes, above, position)
        )
        if done is not None and isinstance(done[0], CompleteBlock):
            self.use_up(holding)  # the model's handle lives on in the CompleteBlock
            self.holdings.append(Holding(done[0], holding.handles))

    @rule(number=picks, start=names, variant=st.integers(0, 1))
    def apply(self, number: int, start: int, variant: int) -> None:
        holding = self.pick(number, MutableBlock)
        if holding is None:
            return
        line = [index for index in path_to(start) if index < 10] or [start]
        line = [line[i % len(line)] for i in range(len(holding.handles))]
        above = [PARENTS[index] if index < 10 else index for index in line]
        blocks = [self.pair.token_block(i, p, variant) for i, p in zip(line, above, strict=True)]
        contents = [self.pair.content(i, p, variant) for i, p in zip(line, above, strict=True)]

        def real() -> None:
            if isinstance(holding.real, BlockList):
                holding.real.apply_token_blocks(blocks)
            else:
                holding.real.apply_token_block(blocks[0])

        self.pair.both(real, lambda: self.model.fill(holding.handles, contents))

    @rule(number=picks, tokens=st.lists(st.integers(0, 1), max_size=5), pops=st.integers(0, 3))
    def fill_by_hand(self, number: int, tokens: list[int], pops: int) -> None:
        able = [h for h in self.holdings if isinstance(h.real, MutableBlock)]
        if not able:
            return
        block, (handle,) = (chosen := able[number % len(able)]).real, chosen.handles
        both, model = self.pair.both, self.model
        both(block.init_sequence, lambda: model.begin(handle))
        rest = both(lambda: block.add_tokens(tokens), lambda: model.add_tokens(handle, tokens))
        assert rest is None or rest[0].tolist() == rest[1]
        both(lambda: block.pop_tokens(pops), lambda: model.pop_tokens(handle, pops))
        if model.slots[model.handles[handle]].state == "partial":
            collected = model.slots[model.handles[handle]].collected
            assert block.tokens.tolist() == collected
            assert (len(block), block.remaining) == (len(collected), BLOCK_SIZE - len(collected))

        def name(collected: list[int]) -> Any:
            """The model computes no hashes: it is told the one of these tokens."""
            partial = PartialTokenBlock(BLOCK_SIZE, scheme=self.pair.scheme)
            partial.add_tokens(collected)
            return partial.commit().sequence_hash

        both(block.commit, lambda: model.commit(handle, name))

    @rule(number=picks)
    def clear_block(self, number: int) -> None:
        able = [h for h in self.holdings if isinstance(h.real, MutableBlock | CompleteBlock)]
        if not able:
            return
        chosen = able[number % len(able)]
        self.model.clear_block(chosen.handles[0])
        again = chosen.real.reset()
        if isinstance(chosen.real, CompleteBlock):
            assert isinstance(again, MutableBlock)
            chosen.real = again

    @rule(number=picks, priority=st.integers(0, 2) | st.just((1 << 32) - 1))
    def set_priority(self, number: int, priority: int) -> None:
        holding = self.pick(number, MutableBlock, CompleteBlock, ImmutableBlock)
        if holding is None:
            return
        self.model.set_priority(holding.handles, priority)
        if isinstance(holding.real, BlockList):
            holding.real.set_priority(priority)
        else:
            holding.real.priority = priority
            assert holding.real.priority == priority

    @rule(numbers=st.lists(picks, max_size=3), whole=st.booleans())
    def register(self, numbers: list[int], whole: bool) -> None:
        chosen: list[Holding] = []
        for number in numbers:
            holding = self.pick(number, MutableBlock, CompleteBlock)
            if holding is not None and all(holding is not other for other in chosen):
                chosen.append(holding)
        if whole and chosen and isinstance(chosen[0].real, BlockList):
            chosen = chosen[:1]
            given: Any = chosen[0].real
        else:
            given = []
            for holding in chosen:
                single = isinstance(holding.real, Block)
                given += [holding.real] if single else holding.real.to_list()
        handles = [handle for holding in chosen for handle in holding.handles]
        answer = self.pair.both(
            lambda: self.pool.register_blocks(given), lambda: self.model.register(handles)
        )
        if answer is not None:
            for holding in chosen:
                self.use_up(holding)
            self.keep(answer)

    @rule(
        start=names,
        variant=st.integers(0, 1),
        with_tokens=st.booleans(),
        priority=st.sampled_from([0, 0, 2, 1]),
        keep=st.booleans(),
        blind=st.booleans(),
    )
    def publish(
        self,
        start: int,
        variant: int,
        with_tokens: bool,
        priority: int,
        keep: bool,
        blind: bool,
    ) -> None:
        """What an engine does: hold what is there, allocate the rest, fill it, register it.

        Blind is who looked before another registered the same.
        """
        before = len(self.holdings)
        line = path_to(start)
        if not blind:
            self.match(line, 0)
        line = line[sum(len(holding.handles) for holding in self.holdings[before:]) :]
        if line and len(line) <= self.model.available:
            self.allocate(len(line))
            blocks, handles = self.holdings[-1].real, self.holdings[-1].handles
            above = [path_to(index)[-2] if len(path_to(index)) > 1 else None for index in line]
            parts = list(zip(line, above, strict=True))
            if with_tokens:
                blocks.apply_token_blocks([self.pair.token_block(*p, variant) for p in parts])
                self.model.fill(handles, [self.pair.content(*p, variant) for p in parts])
            else:
                hashes = [self.pair.names[index] for index in line]
                parent = None if above[0] is None else self.pair.names[above[0]]
                blocks.stage(hashes, parent=parent)
                self.model.stage(handles, hashes, parent)
            blocks.set_priority(priority)
            self.model.set_priority(handles, priority)
            self.use_up(self.holdings[-1])
            self.keep((self.pool.register_blocks(blocks), self.model.register(handles)))
        while not keep and len(self.holdings) > before:
            holding = self.holdings.pop()
            self.model.release(holding.handles)
            holding.real = None

    # ── the readers ───────────────────────────────────────────────────────────────────────

    @rule(indices=paths, form=picks)
    def match(self, indices: list[int], form: int) -> None:
        hashes = self.spelled(indices, form)
        self.keep(
            self.pair.both(
                lambda: self.pool.match_sequence_hashes(hashes),
                lambda: self.model.match([self.pair.names[index] for index in indices]),
            )
        )

    @rule(start=names, variant=st.integers(0, 1))
    def match_token_blocks(self, start: int, variant: int) -> None:
        line = [index for index in path_to(start) if index < 10]
        blocks = [self.pair.token_block(i, PARENTS[i], variant) for i in line]
        contents = [self.pair.content(i, PARENTS[i], variant) for i in line]
        self.keep(
            self.pair.both(
                lambda: self.pool.match_token_blocks(blocks),
                lambda: self.model.match_contents(contents),
            )
        )

    @rule(indices=paths, form=picks)
    def scan(self, indices: list[int], form: int) -> None:
        found = self.pool.scan_matches(self.spelled(indices, form))
        predicted = self.model.scan([self.pair.names[index] for index in indices])
        assert list(found) == list(predicted)
        for name, block in found.items():
            self.keep_block(block, predicted[name])

    @rule(indices=paths, form=picks)
    def touch(self, indices: list[int], form: int) -> None:
        self.pool.touch_blocks(self.spelled(indices, form))
        self.model.touch([self.pair.names[index] for index in indices])

    @rule(number=picks)
    def clone(self, number: int) -> None:
        able = [h for h in self.holdings if isinstance(h.real, ImmutableBlock)]
        if able:
            chosen = able[number % len(able)]
            assert chosen.real.use_count == self.holders_of(chosen.handles[0])
            self.keep_block(chosen.real.clone(), self.model.clone(chosen.handles[0]))

    @rule(number=picks)
    def downgrade(self, number: int) -> None:
        able = [h for h in self.holdings if isinstance(h.real, ImmutableBlock)]
        if able:
            chosen = able[number % len(able)]
            weak = chosen.real.downgrade(), self.model.downgrade(chosen.handles[0])
            self.use_up(chosen)
            self.weak = [*self.weak[-5:], weak]

    @rule(number=picks)
    @precondition(lambda self: self.weak)
    def upgrade(self, number: int) -> None:
        weak, twin = self.weak[number % len(self.weak)]
        block, handle = weak.upgrade(), self.model.upgrade(twin)
        assert (block is None) == (handle is None)
        if block is not None:
            assert block.sequence_hash() == weak.sequence_hash() == twin.content.name
            self.keep_block(block, handle)

    def holders_of(self, handle: int) -> int:
        return len(self.model.slots[self.model.handles[handle]].holders)

    # ── ends ──────────────────────────────────────────────────────────────────────────────

    @rule(numbers=st.lists(picks, min_size=1, max_size=3), way=st.integers(0, 2))
    def drop(self, numbers: list[int], way: int) -> None:
        for number in numbers:
            if not self.holdings:
                return
            holding = self.holdings.pop(number % len(self.holdings))
            self.model.release(holding.handles)
            if way == 0:  # the finaliser does it
                holding.real = None
                continue
            if way == 1:
                holding.real.release()
            else:
                with holding.real:
                    pass
            self.dead = [*self.dead[-3:], holding]

    @rule(number=picks)
    def try_return(self, number: int) -> None:
        able = [h for h in self.holdings if isinstance(h.real, Block)]
        if not able:
            return
        chosen = able[number % len(able)]
        done = self.pair.both(
            lambda: self.pool.try_return_block(chosen.real),
            lambda: self.model.try_return(chosen.handles[0]),
        )
        if done is not None:
            self.use_up(chosen)

    @rule(number=picks)
    def take_out(self, number: int) -> None:
        """The handles of a list outlive it, each with its own hold."""
        able = [h for h in self.holdings if isinstance(h.real, BlockList)]
        if able:
            chosen = able[number % len(able)]
            handles = chosen.real.to_list()
            self.holdings = [other for other in self.holdings if other is not chosen]
            chosen.real = None
            self.holdings += [
                Holding(block, [handle])
                for block, handle in zip(handles, chosen.handles, strict=True)
            ]

    @rule(number=picks, at=st.integers(0, 5), one=st.booleans())
    def split(self, number: int, at: int, one: bool) -> None:
        able = [h for h in self.holdings if isinstance(h.real, BlockList)]
        if not able:
            return
        chosen = able[number % len(able)]
        if one and len(chosen.real):
            chosen.real[at % len(chosen.real)]  # a handle that only the list knows
        first, second = chosen.real.split(at)
        self.holdings = [other for other in self.holdings if other is not chosen]
        for part, handles in ((first, chosen.handles[:at]), (second, chosen.handles[at:])):
            self.keep((part, handles))

    @rule(number=picks)
    @precondition(lambda self: self.dead)
    def use_what_is_dead(self, number: int) -> None:
        """A used up handle or list refuses, and changes nothing. KV-LIF-02"""
        holding = self.dead[number % len(self.dead)]
        if isinstance(holding.real, BlockList) and not len(holding.real):
            return
        uses: list[Callable[[], Any]] = [holding.real.release]
        if isinstance(holding.real, BlockList):
            uses += [
                lambda: holding.real[0].block_id,
                lambda: holding.real.block_ids,
                lambda: holding.real.set_priority(1),
                lambda: holding.real.stage([1] * len(holding.real)),
                lambda: self.pool.register_blocks(holding.real),
            ]
        else:
            uses += [
                lambda: holding.real.block_id,
                lambda: holding.real.state,
                lambda: setattr(holding.real, "priority", 1),
                lambda: self.pool.register_blocks([holding.real]),
                lambda: self.pool.try_return_block(holding.real),
            ]
        if isinstance(holding.real, ImmutableBlock):
            uses += [holding.real.clone, holding.real.downgrade, lambda: holding.real.use_count]
        for use in uses:
            with pytest.raises(StaleHandleError):
                use()

    # ── the pool ──────────────────────────────────────────────────────────────────────────

    @rule(indices=paths)
    def pin(self, indices: list[int]) -> None:
        hashes = [self.pair.names[index] for index in indices]
        self.pair.both(lambda: self.pool.pin_blocks(hashes), lambda: self.model.pin(hashes))

    @rule(indices=paths)
    def unpin(self, indices: list[int]) -> None:
        hashes = [self.pair.names[index] for index in indices]
        self.pair.both(lambda: self.pool.unpin_blocks(hashes), lambda: self.model.unpin(hashes))

    @rule()
    def unpin_all(self) -> None:
        self.pair.unpin_all()

    @rule(mode=st.sampled_from(EvictionMode))
    def trigger_eviction(self, mode: EvictionMode) -> None:
        inactive = self.model.count("inactive")
        count = inactive if mode is EvictionMode.AGGRESSIVE else (inactive + 1) // 2
        assert self.pool.trigger_eviction(mode) == self.model.evict(count) == count

    @rule()
    def reset(self) -> None:
        self.pair.both(self.pool.reset, self.model.reset)

    @rule(indices=paths)
    def reset_blocks(self, indices: list[int]) -> None:
        hashes = [self.pair.names[index] for index in indices]
        answer = self.pool.reset_blocks(hashes)
        told = [answer.reset_blocks, answer.not_found_blocks, answer.not_reset_blocks]
        assert [list(each) for each in told] == list(self.model.reset_blocks(hashes))

    @rule(count=st.integers(0, 2))
    @precondition(lambda self: len(self.model.slots) < 10)
    def add_blocks(self, count: int) -> None:
        self.pool.add_blocks(count)
        self.model.add_blocks(count)

    @invariant()
    def they_are_the_same(self) -> None:
        self.pair.compare()

    def teardown(self) -> None:
        """Release everything: nothing has leaked. KV-CAP-10"""
        self.pair.unpin_all()
        for holding in self.holdings:
            self.pair.model.release(holding.handles)
            holding.real = None
        self.pair.compare()
        assert self.pair.pool.available_blocks() == self.pair.pool.total_blocks()


@pytest.mark.clause("KV-LIF-01", "KV-LIF-02", "KV-LIF-04", "KV-LIF-05", "KV-LIF-06", "KV-LIF-07")
@pytest.mark.clause("KV-LIF-08", "KV-LIF-09", "KV-OWN-01", "KV-OWN-03", "KV-OWN-06", "KV-CAP-01")
@pytest.mark.clause("KV-CAP-02", "KV-CAP-03", "KV-CAP-04", "KV-CAP-05", "KV-CAP-06", "KV-CAP-08")
@pytest.mark.clause("KV-CAP-10", "KV-IDN-06", "KV-REG-01", "KV-REG-02", "KV-REG-03", "KV-REG-04")
@pytest.mark.clause("KV-REG-05", "KV-REG-06", "KV-REG-10", "KV-EVC-01", "KV-EVC-02", "KV-EVC-03")
@pytest.mark.clause("KV-EVC-05", "KV-EVC-06", "KV-EVC-07", "KV-EVT-01", "KV-EVT-02", "KV-EVT-04")
@pytest.mark.parametrize("policy", policies)
def test_no_history_tells_the_pool_from_the_model(policy: str) -> None:
    # A failure is made small for up to five minutes: that is no deadlock.
    faulthandler.dump_traceback_later(600, exit=True, file=sys.__stderr__)
    machine = type(f"PoolMachine[{policy}]", (PoolMachine,), {"policy": policy})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=100, stateful_step_count=50, deadline=None)
    )


OPERATIONS: dict[str, Callable[[PoolMachine, int], None]] = {
    "publish": lambda client, n: client.publish(
        n % 12, n & 1, n & 2 == 0, n % 3, n & 4 == 0, n > 50
    ),
    "match": lambda client, n: client.match(path_to(n % 12), n),
    "scan": lambda client, n: client.scan([n % 12, n % 5, n % 7], n),
    "touch": lambda client, n: client.touch(path_to(n % 12), n),
    "allocate": lambda client, n: client.allocate(n % 4),
    "stage": lambda client, n: client.stage(n, path_to(n % 12), None, 0),
    "register": lambda client, n: client.register([n, n + 1], n & 1 == 0),
    "drop": lambda client, n: client.drop([n, n + 1], n % 3),
    "take_out": lambda client, n: client.take_out(n),
    "clone": lambda client, n: client.clone(n),
    "pin": lambda client, n: client.pin(path_to(n % 12)),
    "unpin": lambda client, n: client.unpin(path_to(n % 12)),
    "evict": lambda client, n: client.trigger_eviction(list(EvictionMode)[n & 1]),
    "reset_blocks": lambda client, n: client.reset_blocks(path_to(n % 12)),
    "unpin_all": lambda client, _: client.unpin_all(),
    "empty": lambda client, _: client.reset(),
}

scripts = st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), picks), max_size=15)


@pytest.mark.clause("KV-REG-02", "KV-EVC-01", "KV-EVC-07", "KV-OWN-04", "KV-CAP-03", "KV-EVT-01")
@given(
    scripts=st.tuples(scripts, scripts),
    turns=st.lists(st.integers(0, 1), min_size=30, max_size=30),
    policy=st.sampled_from(policies),
    allow=st.booleans(),
)
@settings(max_examples=80)
def test_two_clients_in_two_threads_see_one_order_whatever_their_turns(
    scripts: tuple[list[tuple[str, int]], ...], turns: list[int], policy: str, allow: bool
) -> None:
    pair = Pair(5, policy, allow=allow)
    clients = []
    for _ in scripts:
        client = PoolMachine()
        client.pair, client.pool, client.model = pair, pair.pool, pair.model
        clients.append(client)
    left = [list(reversed(script)) for script in scripts]
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        threads = [first, second]
        for who in turns:
            if left[who]:
                operation, number = left[who].pop()
                threads[who].submit(OPERATIONS[operation], clients[who], number).result()
                pair.compare()
    clients[0].holdings += clients[1].holdings
    clients[0].teardown()


@pytest.mark.clause("KV-EVC-08")
@given(script=st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), picks), max_size=25))
@settings(max_examples=30)
@pytest.mark.parametrize("policy", policies)
def test_the_same_history_twice_gives_the_same_victims(
    policy: str, script: list[tuple[str, int]]
) -> None:
    logs = []
    for _ in range(2):
        client = PoolMachine()
        client.pair = Pair(4, policy)
        client.pool, client.model = client.pair.pool, client.pair.model
        for operation, number in script:
            OPERATIONS[operation](client, number)
        batches = client.pair.log.reader(0).read()
        logs.append([(b.change.kind, tuple(b.change.sequence_hashes)) for b in batches])
    assert logs[0] == logs[1]
