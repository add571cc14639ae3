"""Wide pool: the documented API of a whole pool, in the simplest words that say it.

What this is
    A pool of slots as lists, dicts and sets, one block at a time, nothing fast. It
    predicts everything that can be seen of a pool: which slot a call takes, which key it
    evicts, what it refuses and why, and which events it sends. A pool is right when it
    cannot be told from this, call by call. `wide_tier` has the state and the inner rules.
    It is wider than the model of `kvbm_spec`, which knows the calls that every manager has:
    here are tokens, priorities, pins and weak references too.

Interface, as rules of use
    * A handle is a number that the model gives out; a call takes handles and gives new
      ones. What the subject calls a list of blocks is a list of handles here.
    * A refused call raises `Refused` with the language-neutral kind, and has changed nothing.
    * A drop happens at once: release() is the last thing that a handle does.
    * `copy()` is cheap enough to try every next call from one state; `state()` is that state
      as a value, and two models of equal state answer every later call alike.
    * Keys are whatever the subject's are. The model computes none, and knows no tokens but
      as values that are equal or not.

Clauses: KV-LIF-01, KV-LIF-05, KV-LIF-06, KV-LIF-07, KV-LIF-08, KV-OWN-01, KV-OWN-03, KV-OWN-06,
KV-CAP-02, KV-CAP-03, KV-CAP-05, KV-CAP-06, KV-CAP-08, KV-IDN-06, KV-REG-01, KV-REG-02, KV-REG-03,
KV-REG-04, KV-EVC-01, KV-EVC-02, KV-EVC-03, KV-EVC-05, KV-EVC-06, KV-EVT-01, KV-EVT-02, KV-EVT-04
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wide_tier import Content, Event, Handle, Name, Refused, Slot, Tier, Weak

__all__ = ["Content", "Event", "Handle", "Model", "Name", "Refused", "Slot", "Weak"]


class Model(Tier):
    """All calls of a pool, in the order in which a block meets them. See `Tier` for settings."""

    # ── the owner's calls ─────────────────────────────────────────────────────────────────

    def allocate(self, count: int) -> list[Handle]:
        """Hand out slots: the longest empty first, then victims. All or nothing."""
        if count > self.available:
            raise Refused("Exhausted")
        taken = self.empty[:count]
        self.empty = self.empty[count:]
        victims = self._evict(count - len(taken))
        for slot in taken + victims:
            before = self.slots[slot].tenants
            self.slots[slot] = Slot("reset", tenants=before + 1, acquired=self._next_tick())
        return [self._handle(slot) for slot in taken + victims]

    def begin(self, handle: Handle) -> None:
        """Start to collect tokens."""
        self._owned(handle, "reset").state = "partial"

    def add_tokens(self, handle: Handle, tokens: Sequence[int]) -> list[int]:
        """Collect what fits; give back the rest."""
        slot = self._owned(handle, "partial")
        room = self.block_size - len(slot.collected)
        slot.collected += tokens[:room]
        return list(tokens[room:])

    def pop_tokens(self, handle: Handle, count: int) -> None:
        """Take the last tokens back."""
        slot = self._owned(handle, "partial")
        if not 0 <= count <= len(slot.collected):
            raise Refused("WrongState")
        slot.collected = slot.collected[: len(slot.collected) - count]

    def commit(self, handle: Handle, name: Callable[[list[int]], Name]) -> None:
        """Fix the content of a full block, the first of a sequence; `name` names its tokens."""
        slot = self._owned(handle, "partial")
        if len(slot.collected) != self.block_size:
            raise Refused("WrongState")
        slot.content = Content(name(slot.collected), tokens=tuple(slot.collected))
        slot.collected = []
        slot.state = "complete"

    def fill(self, handles: Sequence[Handle], contents: Sequence[Content]) -> None:
        """Fix the contents of Reset blocks, of all or none."""
        slots = [self._owned(handle, "reset") for handle in handles]
        for slot, content in zip(slots, contents, strict=True):
            slot.content = content
            slot.state = "complete"

    def stage(
        self,
        handles: Sequence[Handle],
        names: Sequence[Name],
        parent: Name | None = None,
        position: int = 0,
    ) -> None:
        """Name Reset blocks, each the parent of the next."""
        parents = [parent, *names][: len(names)]
        places = range(position, position + len(names))
        self.fill(handles, [Content(*each) for each in zip(names, parents, places, strict=True)])

    def clear_block(self, handle: Handle) -> None:
        """Throw the content of an owned block away."""
        slot = self._owned(handle, "reset", "partial", "complete")
        slot.state, slot.content, slot.collected, slot.priority = "reset", None, [], 0

    def set_priority(self, handles: Iterable[Handle], priority: int) -> None:
        """Set the priority of held blocks."""
        for slot in [self.slot_of(handle) for handle in handles]:
            self.slots[slot].priority = priority

    def register(self, handles: Sequence[Handle]) -> list[Handle]:
        """Publish Complete blocks in order, all or none; the handles are used up."""
        self._need_each_once(handles)
        if not handles or any(self.slots[self.handles[h]].state != "complete" for h in handles):
            raise Refused("WrongState")
        stored: list[Content] = []
        answers = [self._register(self._end(handle), stored) for handle in handles]
        self._tell("stored", stored)
        return answers

    # ── the readers' calls ────────────────────────────────────────────────────────────────

    def match(self, names: Sequence[Name]) -> list[Handle]:
        """Hold the longest registered prefix."""
        return self._use(self._prefix(names))

    def match_contents(self, contents: Sequence[Content]) -> list[Handle]:
        """Hold the longest registered prefix whose tokens are the same, where that is asked."""
        hits = self._prefix([content.name for content in contents])
        for index, slot in enumerate(hits):
            if self.verify_tokens and not self._same(slot, contents[index]):
                self.collisions += 1
                return self._use(hits[:index])
        return self._use(hits)

    def scan(self, names: Sequence[Name]) -> dict[Name, Handle]:
        """Hold all that are registered, each once, wherever they are."""
        found = [name for name in dict.fromkeys(names) if self._find(name) is not None]
        return dict(zip(found, self._use([self._prefix([n])[0] for n in found]), strict=True))

    def clone(self, handle: Handle) -> Handle:
        """Make one more handle of a registered block."""
        return self._acquire(self.slot_of(handle))

    def downgrade(self, handle: Handle) -> Weak:
        """Remember a registered block, and let go of it."""
        slot = self.slot_of(handle)
        weak = Weak(slot, self.slots[slot].tenants, self._content(slot))
        self.release([handle])
        return weak

    def upgrade(self, weak: Weak) -> Handle | None:
        """Hold the remembered block again: itself while somebody does, else by its name."""
        itself = self.slots[weak.slot]
        if itself.tenants == weak.tenants and itself.holders:
            return self._acquire(weak.slot)
        slot = self._find(weak.content.name)
        if slot is None:
            return None
        if self.verify_tokens and weak.content.tokens and not self._same(slot, weak.content):
            self.collisions += 1
            return None
        return self._acquire(slot)

    def release(self, handles: Sequence[Handle]) -> None:
        """End handles, the last one first, as one drop of a list does."""
        self._need_each_once(handles)
        for handle in reversed(handles):
            self._let_go(self._end(handle))

    def try_return(self, handle: Handle) -> None:
        """End a handle if it is the only holder."""
        if len(self.slots[self.slot_of(handle)].holders) > 1:
            raise Refused("WrongState")
        self.release([handle])

    def touch(self, names: Sequence[Name]) -> None:
        """Make the inactive blocks of a registered prefix the most recently returned."""
        resting = [s for s in dict.fromkeys(self._prefix(names)) if self._is(s, "inactive")]
        for slot in resting:
            self._leave(slot)
        for slot in resting:
            self._rest(slot)

    def pin(self, names: Sequence[Name]) -> None:
        """Hold registered blocks without a handle, all or none."""
        for slot in self._all(names):
            self._wake(slot)
            self.slots[slot].holders.append("pin")

    def unpin(self, names: Sequence[Name]) -> None:
        """Undo one pin of each, all or none."""
        slots = self._all(names)
        if any(slots.count(slot) > self.slots[slot].holders.count("pin") for slot in slots):
            raise Refused("WrongState")
        for slot in reversed(slots):
            self.slots[slot].holders.remove("pin")
            self._let_go(slot)

    # ── the pool's calls ──────────────────────────────────────────────────────────────────

    def order(self) -> list[int]:
        """List the inactive slots, next victim first."""
        trial = self.copy()
        return [trial._pop_victim() for _ in range(trial.count("inactive"))]

    def evict(self, count: int) -> int:
        """Empty up to `count` inactive slots."""
        victims = self._evict(min(count, self.count("inactive")))
        for slot in victims:
            self._empty_slot(slot)
        return len(victims)

    def reset(self) -> None:
        """Empty the whole pool, if nothing is held."""
        if self.available != len(self.slots):
            raise Refused("WrongState")
        self.evict(len(self.slots))

    def reset_blocks(self, names: Sequence[Name]) -> tuple[list[Name], list[Name], list[Name]]:
        """Empty the inactive ones among `names`: gives those, the absent, and the held."""
        answer: tuple[list[Name], list[Name], list[Name]] = ([], [], [])
        for name in names:
            slot = self._find(name)
            if slot is None:
                answer[1].append(name)
            elif self._is(slot, "inactive"):
                answer[0].append(name)
                self._leave(slot)
                self._unregister(slot)
                self._empty_slot(slot)
            else:
                answer[2].append(name)
        self._tell("removed", answer[0])
        return answer

    def add_blocks(self, count: int) -> None:
        """Grow; new slots are used after the empty ones that are there."""
        self.empty += range(len(self.slots), len(self.slots) + count)
        self.slots += [Slot() for _ in range(count)]
