"""Three tiers, every copy in the test's hands: any order of steps, any copy may fail.

The oracle needs no model of who is where. A block's bytes say which block it is, so that
whatever a match finds can be checked, and the books of each route must balance.
"""

from __future__ import annotations

import pytest
from hand_mover import HandMover, store, tier
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kvbm.errors import NotEnoughBlocksAvailable
from kvbm.tiering import Limits, Onboarder, Outcome, Route

NAMES = st.integers(0, 7)
LISTS = st.lists(NAMES, min_size=1, max_size=4, unique=True)
SIZES = {"device": 4, "host": 3, "disk": 5}


class Tiers(RuleBasedStateMachine):
    reached: dict[str, int]

    @initialize(policy=st.sampled_from(["priority", "lineage"]), batch=st.integers(1, 3))
    def begin(self, policy, batch):
        self.tiers = [tier(name, size, policy=policy) for name, size in SIZES.items()]
        self.device, self.host, self.disk = self.tiers
        self.mover = HandMover()
        limits = Limits(transfers=2, batch=batch, queued=6)
        self.routes = [
            Route(self.device, self.host, self.mover, limits=limits),
            Route(self.host, self.disk, self.mover, limits=limits),
        ]
        self.onboarder = Onboarder(self.tiers, self.mover, layers=2)
        self.offloads = []
        self.onboardings = []
        self.held = []

    @rule(names=LISTS, where=st.integers(0, 2), priority=st.integers(0, 2), keep=st.booleans())
    def store(self, names, where, priority, keep):
        try:
            blocks = store(self.tiers[where], names, priority=priority)
        except NotEnoughBlocksAvailable:
            return
        if keep:
            self.held.append(blocks)
        else:
            blocks.release()

    @rule(names=LISTS, where=st.integers(0, 2))
    def hold(self, names, where):
        self.held.append(self.tiers[where].pool.match_sequence_hashes(names))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go(self, data):
        self.held.pop(data.draw(st.integers(0, len(self.held) - 1))).release()

    @rule(names=LISTS, which=st.integers(0, 1), priority=st.integers(0, 2))
    def offload_whatever(self, names, which, priority):
        self.offloads.append(self.routes[which].enqueue(names, [priority] * len(names)))

    @rule(data=st.data(), which=st.integers(0, 1), priority=st.integers(0, 2))
    def offload(self, data, which, priority):
        """Most names are not there. Those that are make the better tests."""
        there = sorted(self.tiers[which].pool._core.registry.entries())
        if there:
            names = data.draw(st.lists(st.sampled_from(there), min_size=1, unique=True))
            self.offloads.append(self.routes[which].enqueue(names, [priority] * len(names)))

    @precondition(lambda self: self.offloads)
    @rule(data=st.data())
    def cancel(self, data):
        data.draw(st.sampled_from(self.offloads)).cancel()

    @rule(which=st.integers(0, 1), paused=st.booleans())
    def pause(self, which, paused):
        self.routes[which].paused = paused
        self.routes[which].pump()

    @rule(names=LISTS, layer_wise=st.booleans())
    def onboard(self, names, layer_wise):
        self.onboardings.append(self.onboarder.onboard(names, layer_wise=layer_wise))

    @precondition(lambda self: self.mover.moves)
    @rule(data=st.data())
    def a_copy_ends(self, data):
        self.mover.finish(data.draw(st.integers(0, len(self.mover.moves) - 1)))

    @precondition(lambda self: self.mover.moves)
    @rule(data=st.data())
    def a_copy_fails(self, data):
        error = OSError("injected")
        self.mover.fail(error, data.draw(st.integers(0, len(self.mover.moves) - 1)))

    @precondition(lambda self: any(not move.future.done() for move in self.mover.moves))
    @rule(data=st.data())
    def a_copy_does_not_answer(self, data):
        silent = [move for move in self.mover.moves if not move.future.done()]
        data.draw(st.sampled_from(silent)).give_up(TimeoutError("injected"))

    @precondition(lambda self: any(not move.future.done() for move in self.mover.moves))
    @rule(data=st.data())
    def a_copy_is_cancelled(self, data):
        silent = [move for move in self.mover.moves if not move.future.done()]
        move = data.draw(st.sampled_from(silent))
        self.mover.moves.remove(move)
        move.future.cancel()
        move.finished.set_result(None)

    @rule(where=st.integers(0, 2), count=st.integers(1, 2))
    def evict(self, where, count):
        pool = self.tiers[where].pool
        try:
            blocks = pool.allocate_blocks(count)
        except NotEnoughBlocksAvailable:
            return
        for slot in blocks.block_ids:
            self.tiers[where].place[slot] = "of somebody else"
        blocks.release()

    @precondition(lambda self: any(one.done for one in self.onboardings))
    @rule()
    def collect(self):
        for onboarding in [one for one in self.onboardings if one.done]:
            self.onboardings.remove(onboarding)
            with onboarding.wait(0) as blocks:
                assert len(blocks) <= onboarding.present + onboarding.loading
                self.reached["onboarded"] += len(blocks)

    @invariant()
    def every_block_that_can_be_matched_has_its_own_bytes(self):
        for one in self.tiers:
            slots = one.pool.slots
            for slot in one.pool._core.registry.entries().values():
                assert one.place[slot] == f"bytes of {slots.name_of(slot)}"

    @invariant()
    def no_copy_shares_a_slot_with_another_that_writes_it(self):
        written = [(m.target.name, slot) for m in self._whole_moves() for slot in m.target_ids]
        assert len(written) == len(set(written))

    @invariant()
    def the_books_balance(self):
        for route in self.routes:
            waiting = sum(len(entry.offloads) for entry in route._pending.values())
            assert route.enqueued == sum(route.ended.values()) + waiting
            assert route._in_flight <= 2

    def _whole_moves(self):
        """One move for each set of layer moves."""
        return [m for m in self.mover.moves if m.layers is None or m.layers.start == 0]

    def teardown(self):
        for route in self.routes:
            route.paused = False
            route.pump()
        while self.mover.moves:
            self.mover.finish()
        for offload in self.offloads:
            assert offload.wait(0)
            for end in offload.ended.values():
                self.reached[end.outcome] += 1
        for onboarding in self.onboardings:
            self.reached["onboarded"] += len(onboarding.wait(0))
        self.onboardings.clear()
        assert self.onboarder._loading == {}
        for blocks in self.held:
            blocks.release()
        for one in self.tiers:
            assert one.pool.available_blocks() == SIZES[one.name]
            one.pool._check()


@pytest.mark.clause(
    "KV-TIR-01", "KV-TIR-02", "KV-TIR-04", "KV-TIR-05", "KV-TIR-06", "KV-TIR-07", "KV-INT-01",
    "KV-INT-02", "KV-REG-09", "KV-CAP-10", "KV-LIV-01",
)  # fmt: skip
def test_no_order_of_steps_and_failures_serves_a_wrong_byte_or_loses_a_block():
    reached = dict.fromkeys([*Outcome, "onboarded"], 0)
    machine = type("Machine", (Tiers,), {"reached": reached})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=120, stateful_step_count=60, deadline=None)
    )
    # A search that never came where it is about proves nothing.
    assert all(reached.values()), reached
