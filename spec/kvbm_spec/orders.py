"""Orders: whose key is evicted next, as a few pure functions for each policy.

What this is
    An order of eviction remembers something of what happened, and names a victim. What it
    remembers is a value, `Memory`; whatever happens gives another value.

Interface, as rules of use
    * `POLICIES[name]` is told when a key is used, comes to rest, and leaves (because it is
      held again, or was evicted); `victim(memory)` names the next one to go.
    * Only what rests can be a victim. A key rests at most once.
    * All is decided by what happened and in which order, and nothing by slots or clocks.

Clauses: KV-EVC-01, KV-EVC-02, KV-EVC-04, KV-EVC-08
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Key: TypeAlias = Any
"""Identity of a block, its sequence hash: any value that can be compared and hashed."""


class Memory(NamedTuple):
    """What an order remembers. Which of it, is up to the policy."""

    resting: tuple[Key, ...] = ()
    """The keys that can be evicted, in the order in which they came to rest."""
    uses: frozenset[tuple[Key, int]] = frozenset()
    """A count for each key that was ever used, rested or not."""
    ties: frozenset[tuple[Key, Key | None]] = frozenset()
    """The parent of each key that rests, or that has descendants which do."""
    leaves: tuple[Key, ...] = ()
    """The resting keys without such descendants, in the order in which they became so."""


class Policy(NamedTuple):
    """One order of eviction. Each function but `victim` gives what is remembered then."""

    use: Callable[[Memory, Key], Memory]
    rest: Callable[[Memory, Key, Key | None], Memory]
    """Told the key that comes to rest, and its parent."""
    leave: Callable[[Memory, Key], Memory]
    victim: Callable[[Memory], Key]


# ── lru, fifo, priority: who came to rest first ───────────────────────────────────────────


def not_counted(memory: Memory, _key: Key) -> Memory:
    """Ignore a use."""
    return memory


def rest_last(memory: Memory, key: Key, _parent: Key | None) -> Memory:
    """Line up."""
    return memory._replace(resting=(*memory.resting, key))


def leave(memory: Memory, key: Key) -> Memory:
    """Step out of the line."""
    return memory._replace(resting=_without(memory.resting, key))


def first(memory: Memory) -> Key:
    """Choose whoever came to rest first."""
    return memory.resting[0]


# ── multi-lru: who was used least, in four steps, and then who came to rest first ─────────

STEPS: Final = (3, 8, 15)
"""Uses from which a key is on the second, third, fourth step."""


def count(memory: Memory, key: Key) -> Memory:
    """Count one more use, as far as counting matters."""
    uses = dict(memory.uses)
    uses[key] = min(uses.get(key, 0) + 1, STEPS[-1])
    return memory._replace(uses=frozenset(uses.items()))


def first_on_the_lowest_step(memory: Memory) -> Key:
    """Choose among the keys on the lowest step."""
    uses = dict(memory.uses)
    return min(memory.resting, key=lambda key: sum(uses.get(key, 0) >= step for step in STEPS))


# ── lineage, lineage-fifo: no parent before its children ──────────────────────────────────


def rest_tied(memory: Memory, key: Key, parent: Key | None) -> Memory:
    """Line up, and be tied to the parent: it is not evicted before this one."""
    ties = dict(memory.ties)
    if ties.get(key) is None:
        ties[key] = None if _is_above(key, parent, ties) else parent
    return _tied((*memory.resting, key), ties, memory.leaves)


def leave_tied(memory: Memory, key: Key) -> Memory:
    """Step out of the line. The ties above stay while a descendant rests."""
    return _tied(_without(memory.resting, key), dict(memory.ties), memory.leaves)


def first_leaf(memory: Memory) -> Key:
    """Choose, of the keys that no resting key descends from, whoever came to rest first."""
    return next(key for key in memory.resting if key in memory.leaves)


def first_to_become_a_leaf(memory: Memory) -> Key:
    """Choose whoever has been a leaf for longest."""
    return memory.leaves[0]


def _tied(resting: tuple[Key, ...], ties: dict[Key, Key | None], leaves: tuple[Key, ...]) -> Memory:
    """Forget the ties that lead up from nobody who rests, and see who is a leaf."""
    parents = {*ties.values()}
    while bare := ties.keys() - parents - {*resting}:
        ties = {key: parent for key, parent in ties.items() if key not in bare}
        parents = {*ties.values()}
    tips = [key for key in resting if key not in parents]
    still = [key for key in leaves if key in tips]
    become = [key for key in tips if key not in leaves]
    return Memory(resting, ties=frozenset(ties.items()), leaves=(*still, *become))


def _is_above(key: Key, parent: Key | None, ties: Mapping[Key, Key | None]) -> bool:
    """Tell whether a key is its own parent's ancestor: nobody is tied to himself."""
    while parent is not None and parent != key:
        parent = ties.get(parent)
    return parent is not None


def _without(keys: tuple[Key, ...], key: Key) -> tuple[Key, ...]:
    return tuple(each for each in keys if each != key)


ARRIVAL: Final = Policy(not_counted, rest_last, leave, first)

POLICIES: Final[Mapping[str, Policy]] = {
    "lru": ARRIVAL,  # a use ends with coming to rest again, so the last use decides
    "fifo": ARRIVAL,  # first to rest, first to go
    "priority": ARRIVAL,  # lowest first; no call of the protocol sets one, so all are equal
    "multi-lru": Policy(count, rest_last, leave, first_on_the_lowest_step),
    "lineage": Policy(not_counted, rest_tied, leave_tied, first_leaf),
    "lineage-fifo": Policy(not_counted, rest_tied, leave_tied, first_to_become_a_leaf),
}
