"""Wide tier: the state of the wide pool, and the rules that its calls share.

What this is
    Slots, the queue of empty ones, the registry, who holds what, and who would be evicted
    next, each as plain as can be: an order of eviction is worked out anew from ticks and
    parents whenever somebody asks for a victim. `wide_pool` adds the calls.

Interface, as rules of use
    * `Model` is what you want; read this second.
    * A slot has a name once it has content, a place in the registry once it is registered,
      and no holders when it is empty or inactive.

Clauses: KV-LIF-05, KV-LIF-06, KV-OWN-03, KV-CAP-02, KV-IDN-06, KV-REG-02, KV-REG-04, KV-EVC-01,
KV-EVC-02, KV-EVC-04
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

Name: TypeAlias = Hashable
"""Key of a block: its sequence hash."""

Handle: TypeAlias = int

Event: TypeAlias = tuple[str, tuple[Any, ...]]
"""("stored", contents) or ("removed", names): what one call did to the registry, in order."""


class Refused(Exception):
    """The call was refused, for the reason `kind`, and changed nothing."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class Content:
    """What a filled block holds. `tokens` is None where they stayed with the caller."""

    name: Name
    parent: Name | None = None
    position: int = 0
    tokens: Hashable = None


@dataclass
class Slot:
    """One place for a block."""

    state: str = "empty"  # empty, reset, partial, complete, active, inactive, duplicate
    content: Content | None = None
    collected: list[int] = field(default_factory=list)  # tokens of a partial block
    holders: list[Any] = field(default_factory=list)  # handles, "pin", ("slot", child or copy)
    holds: int | None = None  # the slot in whose holders this one is
    priority: int = 0
    tenants: int = 0  # blocks that were here so far
    acquired: int = 0  # tick of the last allocation
    returned: int = 0  # tick at which it came to rest
    frequency: int = 0  # uses of its key by then
    leaf: int | None = None  # lineage: tick at which it became a leaf


@dataclass(frozen=True)
class Weak:
    """A memory of a registered block. It holds nothing."""

    slot: int
    tenants: int
    content: Content


class Tier:
    """A pool of `total` slots.

    Parameters
    ----------
    total : blocks
    block_size : tokens
    policy
        `priority`, `lru`, `fifo`, `multi-lru`, `lineage` or `lineage-fifo`.
    allow_duplicates
        What registering a present name does: keep the second slot, or give it up.
    verify_tokens
        Whether blocks of one name but other tokens or parent are told apart.
    key
        What the subject's table looks at of a name. Two names of one key: the second
        is never matched.
    hold_parents
        Whether a block that becomes active keeps its parent so, while that is active.
    thresholds
        Uses from which `multi-lru` puts a block into its second, third, fourth tier.
    """

    def __init__(
        self,
        total: int,
        *,
        block_size: int = 4,
        policy: str = "priority",
        allow_duplicates: bool = False,
        verify_tokens: bool = False,
        key: Callable[[Any], Hashable] = lambda name: name,
        hold_parents: bool = True,
        thresholds: tuple[int, int, int] = (3, 8, 15),
    ) -> None:
        self.block_size = block_size
        self.policy = policy
        self.allow_duplicates = allow_duplicates
        self.verify_tokens = verify_tokens
        self.key = key
        self.hold_parents = hold_parents
        self.thresholds = thresholds
        self.slots = [Slot() for _ in range(total)]
        self.empty = list(range(total))  # longest empty first
        self.registry: dict[Hashable, int] = {}  # key -> primary
        self.handles: dict[Handle, int] = {}  # live handle -> slot
        self.events: list[Event] = []
        self.uses: dict[Hashable, int] = {}
        self.ties: dict[Hashable, Hashable | None] = {}  # lineage: known parent by key
        self.tick = 0
        self.next_handle = 0
        self.collisions = 0

    def copy(self) -> Self:
        """Give a model in the same state that goes its own way."""
        twin = copy.copy(self)
        twin.slots = [
            replace(slot, collected=[*slot.collected], holders=[*slot.holders])
            for slot in self.slots
        ]
        twin.empty, twin.events = [*self.empty], [*self.events]
        twin.registry, twin.handles = {**self.registry}, {**self.handles}
        twin.uses, twin.ties = {**self.uses}, {**self.ties}
        return twin

    def state(self) -> Hashable:
        """Give all that decides about later answers, as a value. Ticks count by their order."""
        ticks = {t for s in self.slots for t in (s.acquired, s.returned, s.leaf) if t is not None}
        rank = {tick: index for index, tick in enumerate(sorted(ticks))}
        slots = tuple(
            (
                *(s.state, s.content, tuple(s.collected), s.holds, s.priority, s.frequency),
                *(len(s.holders), s.holders.count("pin")),
                *(rank[s.acquired], rank[s.returned], None if s.leaf is None else rank[s.leaf]),
            )
            for s in self.slots
        )
        uses = frozenset(self.uses.items()) if self.policy == "multi-lru" else None
        return slots, tuple(self.empty), frozenset(self.ties.items()), uses

    # ── what can be asked ─────────────────────────────────────────────────────────────────

    def count(self, *states: str) -> int:
        """Count the slots in any of `states`."""
        return sum(slot.state in states for slot in self.slots)

    @property
    def available(self) -> int:
        """What a maximal allocate() would give."""
        return len(self.empty) + self.count("inactive")

    def slot_of(self, handle: Handle) -> int:
        """Find the slot of a handle, which must be live."""
        if handle not in self.handles:
            raise Refused("StaleHandle")
        return self.handles[handle]

    def names(self) -> set[Name]:
        """List what is registered."""
        return {self._content(slot).name for slot in self.registry.values()}

    def check(self) -> None:
        """Assert what must hold in every state, of this description itself."""
        for handle, home in self.handles.items():
            known = [s for s in range(len(self.slots)) if handle in self.slots[s].holders]
            assert known == [home], f"handle {handle} of slot {home} is held by {known}"
        empty = [index for index, slot in enumerate(self.slots) if slot.state == "empty"]
        assert sorted(self.empty) == empty, f"KV-CAP-02: {self.empty}"
        for index, slot in enumerate(self.slots):
            idle = slot.state in ("empty", "inactive")
            assert idle == (not slot.holders), f"KV-OWN-03: slot {index} is {slot}"
            answers = slot.state in ("active", "inactive")
            assert answers == (index in self.registry.values()), f"KV-REG-04: {index} is {slot}"
            kept = slot.holds is None or ("slot", index) in self.slots[slot.holds].holders
            assert kept, f"KV-OWN-03: slot {index} is {slot}"

    # ── inside: registry ──────────────────────────────────────────────────────────────────

    def _register(self, slot: int, stored: list[Content]) -> Handle:
        content = self._content(slot)
        primary = self.registry.get(self.key(content.name))
        if primary is None:
            self._hold_parent(slot)
            self.slots[slot].state = "active"
            self.registry[self.key(content.name)] = slot
            stored.append(content)
        elif not self._may_share(primary, content):
            self.collisions += 1
            self.slots[slot].state = "duplicate"  # of nobody: it is never found
        elif self.allow_duplicates:
            self._wake(primary)
            self.slots[primary].holders.append(("slot", slot))
            self.slots[slot].holds = primary
            self.slots[slot].state = "duplicate"
        else:
            self._empty_slot(slot)
            self._count_use(primary)
            return self._acquire(primary)
        self._count_use(slot)
        return self._handle(slot)

    def _may_share(self, primary: int, content: Content) -> bool:
        same_name = self._content(primary).name == content.name
        tell_apart = self.verify_tokens and content.tokens is not None
        return same_name and (not tell_apart or self._same(primary, content))

    def _same(self, slot: int, content: Content) -> bool:
        mine = self._content(slot)
        same_tokens = mine.tokens is None or mine.tokens == content.tokens
        return mine.parent == content.parent and same_tokens

    def _find(self, name: Name) -> int | None:
        slot = self.registry.get(self.key(name))
        return slot if slot is not None and self._content(slot).name == name else None

    def _prefix(self, names: Sequence[Name]) -> list[int]:
        hits = []
        for name in names:
            slot = self._find(name)
            if slot is None:
                break
            hits.append(slot)
        return hits

    def _all(self, names: Sequence[Name]) -> list[int]:
        slots = self._prefix(names)
        if len(slots) < len(names):
            raise Refused("NotFound")
        return slots

    def _unregister(self, slot: int) -> None:
        del self.registry[self.key(self._content(slot).name)]

    # ── inside: holders ───────────────────────────────────────────────────────────────────

    def _use(self, slots: Sequence[int]) -> list[Handle]:
        for slot in slots:
            self._count_use(slot)
        return [self._acquire(slot) for slot in slots]

    def _acquire(self, slot: int) -> Handle:
        self._wake(slot)
        return self._handle(slot)

    def _handle(self, slot: int) -> Handle:
        self.next_handle += 1
        self.handles[self.next_handle] = slot
        self.slots[slot].holders.append(self.next_handle)
        return self.next_handle

    def _end(self, handle: Handle) -> int:
        slot = self.handles.pop(handle)
        self.slots[slot].holders.remove(handle)
        return slot

    def _wake(self, slot: int) -> None:
        if self._is(slot, "inactive"):
            self._leave(slot)
            self._hold_parent(slot)
            self.slots[slot].state = "active"

    def _hold_parent(self, slot: int) -> None:
        """Let a block that becomes active keep its parent so, if that is active by now."""
        name = self._content(slot).parent if self.hold_parents else None
        parent = None if name is None else self.registry.get(self.key(name))
        if parent is not None and self._is(parent, "active"):
            self.slots[parent].holders.append(("slot", slot))
            self.slots[slot].holds = parent

    def _let_go(self, slot: int | None) -> None:
        """Return a slot that has lost its last holder, then the one that it held, and so on."""
        while slot is not None and not self.slots[slot].holders:
            held = self.slots[slot].holds
            self.slots[slot].holds = None
            if self._is(slot, "active"):
                self._rest(slot)
            else:
                self._empty_slot(slot)
            if held is not None:
                self.slots[held].holders.remove(("slot", slot))
            slot = held

    # ── inside: order of eviction ─────────────────────────────────────────────────────────

    def _rest(self, slot: int) -> None:
        here = self.slots[slot]
        here.state = "inactive"
        here.returned = self._next_tick()
        here.frequency = self.uses.get(self.key(self._content(slot).name), 0)
        if self.policy.startswith("lineage"):
            key, parent = self.key(self._content(slot).name), self._content(slot).parent
            if self.ties.get(key) is None:
                self.ties[key] = self._tie(key, None if parent is None else self.key(parent))
            self._find_leaves()

    def _leave(self, slot: int) -> None:
        self.slots[slot].state, self.slots[slot].leaf = "left", None
        self._find_leaves()

    def _evict(self, count: int) -> list[int]:
        victims = [self._pop_victim() for _ in range(count)]
        self._tell("removed", [self._content(slot).name for slot in victims])
        for slot in victims:
            self._unregister(slot)
        return victims

    def _pop_victim(self) -> int:
        resting = [s for s in range(len(self.slots)) if self._is(s, "inactive")]
        if self.policy.startswith("lineage"):
            resting = [slot for slot in resting if self.slots[slot].leaf is not None]
        victim = min(resting, key=self._rank)
        self._leave(victim)
        return victim

    def _rank(self, slot: int) -> tuple[Any, ...]:
        here = self.slots[slot]
        if self.policy == "priority":
            return here.priority, here.returned, here.acquired, self._content(slot).name
        if self.policy == "multi-lru":
            return sum(here.frequency >= limit for limit in self.thresholds), here.returned
        if self.policy == "lineage-fifo":
            return (here.leaf,)
        return (here.returned,)

    def _tie(self, key: Hashable, parent: Hashable | None) -> Hashable | None:
        """Give `parent`, unless the child is already above it: nobody is his own ancestor."""
        above = parent
        while above is not None:
            if above == key:
                return None
            above = self.ties.get(above)
        return parent

    def _find_leaves(self) -> None:
        """Drop ghosts that shield nothing; note who has become a leaf, and who is none.

        A ghost is a key that is not inactive itself but has inactive descendants by `ties`.
        """
        if not self.policy.startswith("lineage"):
            return
        inside = {key: slot for key, slot in self.registry.items() if self._is(slot, "inactive")}
        while ghosts := self.ties.keys() - inside.keys() - set(self.ties.values()):
            for key in ghosts:
                del self.ties[key]
        for key, slot in inside.items():
            if key in self.ties.values():
                self.slots[slot].leaf = None
            elif self.slots[slot].leaf is None:
                self.slots[slot].leaf = self._next_tick()

    def _count_use(self, slot: int) -> None:
        key = self.key(self._content(slot).name)
        self.uses[key] = min(self.uses.get(key, 0) + 1, 15)

    # ── inside: the rest ──────────────────────────────────────────────────────────────────

    def _is(self, slot: int, state: str) -> bool:
        return self.slots[slot].state == state

    def _content(self, slot: int) -> Content:
        content = self.slots[slot].content
        assert content is not None, f"slot {slot} has no content: {self.slots[slot]}"
        return content

    def _owned(self, handle: Handle, *states: str) -> Slot:
        slot = self.slots[self.slot_of(handle)]
        if slot.state not in states:
            raise Refused("WrongState")
        return slot

    def _need_each_once(self, handles: Sequence[Handle]) -> None:
        if len(set(handles)) < len(handles) or any(h not in self.handles for h in handles):
            raise Refused("StaleHandle")

    def _empty_slot(self, slot: int) -> None:
        self.slots[slot] = Slot(tenants=self.slots[slot].tenants)
        self.empty.append(slot)

    def _tell(self, what: str, blocks: Sequence[Any]) -> None:
        if blocks:
            self.events.append((what, tuple(blocks)))

    def _next_tick(self) -> int:
        self.tick += 1
        return self.tick
