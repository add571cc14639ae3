"""Write-back: a block goes to the slower tier when it is evicted, and not before.

What this is
    A hook into the eviction of one tier. Before a victim loses its slot its bytes are
    copied, and the caller of allocate waits for that: so the slot is never reused before
    the copy has ended, whatever happens.

Interface, as rules of use
    * Make one and it is installed; remove() takes it out.
    * It runs inside the source pool's turn: it must not call that pool, and the mover must
      not either. Pools of slower tiers may be called, and may write back in their turn.
    * The mover must need no thread that may wait for a pool: that pool's turn waits for the
      copy. See EngineMover.
    * Events of the target are delivered when the source's turn is over.
    * What cannot be copied is lost, as any evicted block is, and counted with its outcome.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-05
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from kvbm.blocks.slots import Ids
from kvbm.errors import NotEnoughBlocksAvailable
from kvbm.pool.postponed import events_postponed
from kvbm.tiering.filters import OffloadFilter
from kvbm.tiering.outcome import Outcome
from kvbm.tiering.tier import Mover, Tier


@final
class WriteBack:
    """Copies the victims of `source` to `target`."""

    def __init__(
        self, source: Tier, target: Tier, mover: Mover, *, filters: Sequence[OffloadFilter] = ()
    ) -> None:
        self.source, self.target = source, target
        self._mover = mover
        self._filters = tuple(filters)
        self.ended = dict.fromkeys(Outcome, 0)  # blocks by outcome
        source.pool.on_evict = self._save

    def remove(self) -> None:
        """Stop saving victims. Idempotent."""
        self.source.pool.on_evict = None

    def _save(self, victims: Ids) -> None:
        with events_postponed(self.source.pool):
            self._save_some(victims)

    def _save_some(self, victims: Ids) -> None:
        try:
            ids = self._worth_saving(victims)
            available = self.target.pool.available_blocks()
        except Exception:  # noqa: BLE001  a victim that cannot be saved must not stop its heir
            self.ended[Outcome.FAILED] += len(victims)
            return
        self.ended[Outcome.FILTERED] += len(victims) - len(ids)
        # The last victims were used last: they are worth most where room is short.
        room = min(len(ids), available)
        self.ended[Outcome.NO_CAPACITY] += len(ids) - room
        if room:
            self._copy(ids[-room:])

    def _worth_saving(self, victims: Ids) -> Ids:
        slots = self.source.pool.slots
        names = slots.names_of(victims)
        known = self.target.pool.contains(names)
        priorities = slots.records["priority"][victims].tolist()
        wanted = [
            not present and all(one.refuses(name, priority) is None for one in self._filters)
            for name, present, priority in zip(names, known, priorities, strict=True)
        ]
        return victims[np.flatnonzero(wanted)]

    def _copy(self, ids: Ids) -> None:
        outcome = Outcome.FAILED
        try:
            with self.target.pool.allocate_blocks(len(ids)) as copies:
                listed = ids.tolist()
                copy = self._mover.move(self.source, listed, self.target, copies.block_ids)
                copy.finished.result()  # only then may the slots have heirs
                copy.future.result()
                self.target.pool.adopt(copies, self.source.pool.slots, ids)
                self.target.pool.register_blocks(copies).release()
            outcome = Outcome.COMPLETED
        except NotEnoughBlocksAvailable:
            outcome = Outcome.NO_CAPACITY
        except Exception:  # noqa: BLE001  a victim that cannot be saved must not stop its heir
            outcome = Outcome.FAILED
        self.ended[outcome] += len(ids)
