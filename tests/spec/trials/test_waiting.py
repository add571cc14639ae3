"""Waiting and resizing: what a manager does when there is too little, right and wrong."""

from __future__ import annotations

from typing import Any

import pytest
from kvbm_spec.subject import SubjectError
from list_pool import ListPool, Slot, Ticket
from trying import Declared, failures, named


class Patient(ListPool):
    """The tiny pool with a line of those who wait."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.line: list[dict[str, Any]] = []

    def wait(self, n: int) -> dict[str, Any]:
        if n > len(self.slots):
            raise SubjectError("Exhausted")
        self.line.append({"n": n, "blocks": None, "over": None})
        return self.line[-1]

    def ready(self, ticket: dict[str, Any]) -> list[Ticket] | None:
        self.serve()
        if ticket["over"]:
            raise SubjectError(ticket["over"])
        return ticket["blocks"]

    def cancel(self, ticket: dict[str, Any]) -> None:
        ticket["over"] = "Cancelled"

    def serve(self) -> None:
        self.line = [each for each in self.line if not each["over"]]
        while self.line and self.line[0]["n"] <= self.room():
            first = self.line.pop(0)
            first["blocks"] = self.allocate(first["n"])

    def close(self) -> None:
        super().close()
        for each in self.line:
            each["over"] = "Cancelled"


class SmallOnesFirst(Patient):
    def serve(self) -> None:
        for each in list(self.line):
            if not each["over"] and each["n"] <= self.room():
                self.line.remove(each)
                each["blocks"] = self.allocate(each["n"])


class WaitsForFreeSlots(Patient):
    def serve(self) -> None:
        if not self.resting:
            super().serve()


class StaysInTheLine(Patient):
    def cancel(self, ticket: dict[str, Any]) -> None:
        ticket["gone"] = True

    def ready(self, ticket: dict[str, Any]) -> list[Ticket] | None:
        blocks = super().ready(ticket)
        if "gone" in ticket:
            raise SubjectError("Cancelled")
        return blocks


class HoardsAndForgets(Patient):
    """Keeps the blocks of the first in the line as they come."""

    def serve(self) -> None:
        for first in self.line[:1]:
            first["hoard"] = first.get("hoard", []) + self.allocate(min(first["n"], self.room()))
            if len(first["hoard"]) == first["n"]:
                first["blocks"] = self.line.pop(0)["hoard"]
        self.line = [each for each in self.line if not each["over"]]

    def cancel(self, ticket: dict[str, Any]) -> None:
        super().cancel(ticket)
        self.line.remove(ticket)


class SilentClose(Patient):
    def close(self) -> None:
        ListPool.close(self)


class WaitsForEver(Patient):
    def wait(self, n: int) -> dict[str, Any]:
        self.line.append({"n": n, "blocks": None, "over": None})
        return self.line[-1]


class Growing(ListPool):
    def resize(self, slots: int) -> int:
        if slots < len(self.slots):
            raise SubjectError("Unsupported")
        added = range(len(self.slots), slots)
        self.slots += [Slot() for _ in added]
        self.free += added
        return len(self.slots)


class Shrinking(Growing):
    """Gives its last slots up, as long as they are free."""

    def resize(self, slots: int) -> int:
        while len(self.slots) > slots and len(self.slots) - 1 in self.free:
            self.free.remove(len(self.slots) - 1)
            self.slots.pop()
        return super().resize(max(slots, len(self.slots)))


class GrowsToNothing(Growing):
    def resize(self, slots: int) -> int:
        self.slots += [Slot() for _ in range(slots - len(self.slots))]
        return len(self.slots)


class StartsAnew(Growing):
    def resize(self, slots: int) -> int:
        self.index.clear()
        return super().resize(slots)


class GrowsTooFar(Growing):
    def resize(self, slots: int) -> int:
        return super().resize(slots + 1) - 1


class DropsWhatIsHeld(Growing):
    def resize(self, slots: int) -> int:
        if slots < len(self.slots):
            self.index.clear()
            return max(2, slots)
        return super().resize(slots)


RIGHT: tuple[tuple[type[ListPool], str, Declared], ...] = (
    (Patient, "waiting", {}),
    (Growing, "resizing", {}),
    (Shrinking, "resizing", {}),
)

BROKEN: tuple[tuple[type[ListPool], str, Declared, str], ...] = (
    (SmallOnesFirst, "waiting", {}, "KV-LIV-05"),
    (WaitsForFreeSlots, "waiting", {}, "KV-LIV-01"),
    (StaysInTheLine, "waiting", {}, "KV-LIV-01"),
    (HoardsAndForgets, "waiting", {}, "KV-LIF-09"),
    (SilentClose, "waiting", {}, "KV-SHD-04"),
    (WaitsForEver, "waiting", {}, "KV-LIV-01"),
    (GrowsToNothing, "resizing", {}, "KV-CAP-09"),
    (StartsAnew, "resizing", {}, "KV-CAP-09"),
    (GrowsTooFar, "resizing", {}, "KV-CAP-09"),
    (DropsWhatIsHeld, "resizing", {}, "KV-CAP-09"),
)


@pytest.mark.parametrize(("pool", "ability", "declared"), RIGHT, ids=named(RIGHT))
def test_what_is_right_passes(pool: type[ListPool], ability: str, declared: Declared) -> None:
    assert not failures(pool, ability, declared)


@pytest.mark.parametrize(("pool", "ability", "declared", "clause"), BROKEN, ids=named(BROKEN))
def test_what_is_broken_breaks_its_clause(
    pool: type[ListPool], ability: str, declared: Declared, clause: str
) -> None:
    assert clause in failures(pool, ability, declared)
