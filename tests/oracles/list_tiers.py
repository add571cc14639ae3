"""Two or three tiers that are right, in lists and dicts: what mutants of tiers are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kvbm_spec.subject import Env, Key
from kvbm_spec.tiers import PENDING, Copy
from list_pool import ListPool, ListSubject, Ticket


@dataclass(eq=False)
class Move:
    """One block on its way, all who wait for it, and what it has read so far."""

    key: Key
    source: str
    target: str
    origin: Ticket
    goal: Ticket
    waiters: list[Request]
    begun: bool = False
    buffer: bytes = b""


@dataclass(eq=False)
class Request:
    """One offload or onboard."""

    keys: tuple[Key, ...]
    states: dict[Key, str] = field(default_factory=dict)
    holds: dict[Key, Ticket] = field(default_factory=dict)


class ListTiers:
    """Every copy is of one block, and starts at once or never."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self.pools = {tier: ListPool(count) for tier, count in slots.items()}
        self.fast = next(iter(slots))
        self.moves: list[Move] = []
        self.sums: dict[tuple[str, Key], bytes] = {}
        self.open = True

    # ── the calls ─────────────────────────────────────────────────────────────────────────

    def pool(self, tier: str) -> ListPool:
        return self.pools[tier]

    def offload(self, keys: Sequence[Key], source: str, target: str) -> Request:
        request = Request(tuple(keys))
        for key in keys:
            request.states[key] = self.send(request, key, source, target)
        return request

    def onboard(self, keys: Sequence[Key]) -> Request:
        request = Request(tuple(keys), dict.fromkeys(keys, "evicted"))
        for key in keys:
            if key in self.pools[self.fast].index:
                request.holds[key] = self.take(self.fast, key)
                request.states[key] = "completed"
        for key in keys:
            if request.states[key] == "completed":
                continue
            source = next((tier for tier in self.sources() if self.hit(tier, key)), None)
            if source is not None:
                request.states[key] = self.send(request, key, source, self.fast)
            if request.states[key] != PENDING:
                break
        return request

    def state(self, ticket: Request) -> dict[Key, str]:
        return dict(ticket.states)

    def result(self, ticket: Request) -> list[Ticket]:
        prefix = []
        for key in ticket.keys:
            if ticket.states[key] != "completed":
                break
            prefix.append(ticket.holds.pop(key))
        self.drop(ticket)
        return prefix

    def cancel(self, ticket: Request) -> None:
        for key, state in ticket.states.items():
            if state == PENDING:
                ticket.states[key] = "cancelled"
        self.drop(ticket)

    def copies(self) -> list[Copy]:
        return [Copy((move.key,), move.source, move.target, move.begun) for move in self.moves]

    def begin(self, index: int) -> None:
        move = self.moves[index]
        move.begun = True
        move.buffer = self.slot(move.source, move.origin).data
        self.put(move, self.half(move.buffer))

    def finish(self, index: int) -> None:
        move = self.moves[index]
        if not move.begun:
            self.begin(index)
        self.put(move, move.buffer)
        if self.sound(move):
            self.end(move, "completed")
        else:
            self.end(move, "failed")

    def fail(self, index: int, *, short: bool) -> None:
        move = self.moves[index]
        if short:
            self.begin(index)
        self.end(move, "failed")

    def corrupt(self, tier: str, key: Key) -> None:
        slot = self.pools[tier].slots[self.pools[tier].index[key]]
        slot.data = bytes([slot.data[0] ^ 1]) + slot.data[1:]

    def close(self, timeout: float) -> list[str]:
        del timeout
        if self.open:
            self.open = False
            for move in [move for move in self.moves if not move.begun]:
                self.end(move, "cancelled")
            self.abandon()
            for pool in self.pools.values():
                pool.close()
        return [str(copy) for copy in self.copies()]

    # ── the parts ─────────────────────────────────────────────────────────────────────────

    def sources(self) -> list[str]:
        return [tier for tier in self.pools if tier != self.fast]

    def hit(self, tier: str, key: Key) -> bool:
        return key in self.pools[tier].index

    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        """Start a copy, or join one; give what becomes of the key for now."""
        same = self.under_way(key, target)
        if same is not None:
            same.waiters.append(request)
            return PENDING
        if not self.hit(source, key):
            return "evicted"
        if key in self.pools[target].index:
            return "filtered"
        origin = self.take(source, key)
        goal = self.pools[target].allocate(1)
        if goal is None:
            return self.refuse(source, origin)
        self.moves.append(Move(key, source, target, origin, goal[0], [request]))
        return PENDING

    def refuse(self, source: str, origin: Ticket) -> str:
        self.pools[source].release(origin)
        return "no_capacity"

    def under_way(self, key: Key, target: str) -> Move | None:
        return next((m for m in self.moves if (m.key, m.target) == (key, target)), None)

    def take(self, tier: str, key: Key) -> Ticket:
        return self.pools[tier].match([key])[0]

    def slot(self, tier: str, ticket: Ticket):
        return self.pools[tier].slots[ticket.slot]

    def put(self, move: Move, data: bytes) -> None:
        self.slot(move.target, move.goal).data = data

    def half(self, data: bytes) -> bytes:
        return data[:4] + bytes(4)

    def sound(self, move: Move) -> bool:
        """Compare with the checksum of the source; a copy of the bytes will do."""
        return self.sums.get((move.source, move.key), move.buffer) == move.buffer

    def end(self, move: Move, outcome: str) -> None:
        self.moves.remove(move)
        target = self.pools[move.target]
        if outcome == "completed":
            held = self.publish(move)
            self.tell(move, outcome)
            target.release(held)
        else:
            target.release(move.goal)
            self.tell(move, outcome)
        self.let_go(move)
        if outcome == "failed" and move.target == self.fast:
            self.miss(move.source, move.key)

    def let_go(self, move: Move) -> None:
        self.pools[move.source].release(move.origin)

    def publish(self, move: Move) -> Ticket:
        pool = self.pools[move.target]
        self.sums[move.target, move.key] = move.buffer
        return pool.register(pool.stage(move.goal, move.key))

    def tell(self, move: Move, outcome: str) -> None:
        for request in move.waiters:
            if request.states[move.key] != PENDING:
                continue
            request.states[move.key] = outcome
            if outcome == "completed" and move.target == self.fast:
                request.holds[move.key] = self.take(self.fast, move.key)

    def miss(self, tier: str, key: Key) -> None:
        pool = self.pools[tier]
        slot = pool.index.get(key)
        if slot in pool.resting:
            pool.resting.remove(slot)
            pool.forget(key)
            pool.tell("Removed", key)
            pool.empty(slot)

    def drop(self, ticket: Request) -> None:
        for handle in ticket.holds.values():
            self.pools[self.fast].release(handle)
        ticket.holds = {}

    def abandon(self) -> None:
        """Wake those whose copies do not end in time."""
        for move in self.moves:
            self.tell(move, "failed")


class TiersSubject(ListSubject):
    """`made` as a subject of two tiers or three."""

    def __init__(self, made: type[ListTiers] = ListTiers, *, names: Sequence[str] = ("G1", "G2")):
        super().__init__()
        self.made = made
        self.names = tuple(names)

    def tiers(self) -> tuple[str, ...]:
        return self.names

    def open_tiers(self, slots: Mapping[str, int], env: Env) -> ListTiers:
        del env
        return self.made(slots)
