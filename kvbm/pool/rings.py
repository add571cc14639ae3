"""Rings: first-in-first-out queues of slots, threaded through two links per slot.

What this is
    The list of empty slots and the orders of eviction are queues in which any
    member can also leave from the middle, in O(1), without a search. So each slot
    has a link to its older and to its newer neighbour, and a note of its queue.
    (It is the list of free buffers of xv6's `bio.c`, as three arrays.)

Interface, as rules of use
    * A slot is in at most one queue of a Rings object.
    * push() appends in the order given; pop() takes the oldest of the first queue that
      has members.
    * remove() wants members only: ask nothing of it that was not pushed.
    * Everything works on whole batches of slot ids (int64 arrays).

Clauses: KV-CAP-04, KV-EVC-02, KV-EVC-08
"""

from __future__ import annotations

import numpy as np

from kvbm.blocks.slots import NONE, Ids
from kvbm.compiled import compiled

OLDER, NEWER, QUEUE = 0, 1, 2
OLDEST, NEWEST = 0, 1


class Rings:
    """`queues` queues over the slots 0 … `slots` - 1."""

    def __init__(self, slots: int, queues: int = 1) -> None:
        self._links = np.full((slots, 3), NONE, np.int64)  # (slots, [older, newer, queue])
        self._ends = np.full((queues, 2), NONE, np.int64)  # (queues, [oldest, newest])
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, ids: Ids, queue: int = 0) -> None:
        """Append `ids`, the first of them becomes the oldest of the new ones. O(blocks)."""
        _push(self._links, self._ends, queue, ids)
        self._length += ids.size

    def pop(self, count: int) -> Ids:
        """Take up to `count` members out: the oldest of the first queue first, then the next.

        Complexity: O(blocks + queues).
        """
        ids = np.empty(min(count, self._length), np.int64)
        if ids.size:
            _pop(self._links, self._ends, ids)
            self._length -= ids.size
        return ids

    def remove(self, ids: Ids) -> None:
        """Take members out, wherever they are. O(blocks)."""
        _remove(self._links, self._ends, ids)
        self._length -= ids.size

    def order(self) -> Ids:
        """List all members as pop() would give them; nothing changes. O(members)."""
        ids = np.empty(self._length, np.int64)
        _walk(self._links, self._ends, ids)
        return ids

    def add_queue(self, before: int) -> None:
        """Insert a new, empty queue at index `before`; later ones move up by one. O(slots)."""
        self._links[self._links[:, QUEUE] >= before, QUEUE] += 1
        self._ends = np.insert(self._ends, before, NONE, axis=0)

    def grow(self, slots: int) -> None:
        """Make room for slots up to `slots` - 1; the new ones are in no queue. O(slots)."""
        more = np.full((slots - len(self._links), 3), NONE, np.int64)
        self._links = np.concatenate([self._links, more])

    def _check(self) -> None:
        """Assert that each queue reads the same in both directions and counts its members."""
        seen: list[int] = []
        for queue, (oldest, newest) in enumerate(self._ends.tolist()):
            before, slot = NONE, oldest
            while slot != NONE:
                older, newer, noted = self._links[slot].tolist()
                assert older == before, f"KV-CAP-04: slot {slot} points back to {older}: {self}"
                assert noted == queue, f"KV-CAP-04: slot {slot} of {queue} says {noted}: {self}"
                seen.append(slot)
                assert len(seen) <= len(self._links), f"KV-CAP-04: a queue is a circle: {self}"
                before, slot = slot, newer
            assert before == newest, f"KV-CAP-04: wrong newest end: {self}"
        members = int((self._links[:, QUEUE] != NONE).sum())
        assert self._length == members == len(seen), f"KV-CAP-04: counter is not length: {self}"

    def __str__(self) -> str:
        return f"ends\n{self._ends}\nlinks\n{self._links}"


@compiled
def _push(links: Ids, ends: Ids, queue: int, ids: Ids) -> None:
    newest = ends[queue, NEWEST]
    for slot in ids:
        links[slot, OLDER] = newest
        links[slot, QUEUE] = queue
        if newest == NONE:
            ends[queue, OLDEST] = slot
        else:
            links[newest, NEWER] = slot
        newest = slot
    if newest != NONE:
        links[newest, NEWER] = NONE
    ends[queue, NEWEST] = newest


@compiled
def _remove(links: Ids, ends: Ids, ids: Ids) -> None:
    for slot in ids:
        older = links[slot, OLDER]
        newer = links[slot, NEWER]
        queue = links[slot, QUEUE]
        if older == NONE:
            ends[queue, OLDEST] = newer
        else:
            links[older, NEWER] = newer
        if newer == NONE:
            ends[queue, NEWEST] = older
        else:
            links[newer, OLDER] = older
        links[slot, QUEUE] = NONE


@compiled
def _pop(links: Ids, ends: Ids, ids: Ids) -> None:
    queue = 0
    slot = ends[queue, OLDEST]
    for index in range(ids.size):
        while slot == NONE:
            ends[queue, OLDEST] = NONE
            ends[queue, NEWEST] = NONE
            queue += 1
            slot = ends[queue, OLDEST]
        ids[index] = slot
        links[slot, QUEUE] = NONE
        slot = links[slot, NEWER]
    # The rest of the queue is joined to its end once, not once a member.
    ends[queue, OLDEST] = slot
    if slot == NONE:
        ends[queue, NEWEST] = NONE
    else:
        links[slot, OLDER] = NONE


@compiled
def _walk(links: Ids, ends: Ids, ids: Ids) -> None:
    queue = 0
    slot = ends[queue, OLDEST]
    for index in range(ids.size):
        while slot == NONE:
            queue += 1
            slot = ends[queue, OLDEST]
        ids[index] = slot
        slot = links[slot, NEWER]
