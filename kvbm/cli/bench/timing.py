"""Taking turns: how the figures of a benchmark are measured and kept.

What this is
    A subject is a name and, per column, a function that does `amount` units of work. In
    each round every subject works once; the best round of each counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: `work[column]()` does `amount[column]` of the report's units."""

    name: str
    work: Mapping[str, Callable[[], object]]
    amount: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """Best rates of one subject, by column."""

    subject: str
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """One table of figures from one run."""

    title: str
    workload: str
    unit: str  # of the rates
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    reference: str | None  # the subject that ratios are to, if it is there
    notes: tuple[str, ...] = ()

    def ratio(self, subject: str, column: str) -> float | None:
        """Give the rate of `subject` in units of the reference's."""
        rates = {row.subject: row.rates.get(column) for row in self.rows}
        rate, base = rates.get(subject), rates.get(self.reference or "")
        return rate / base if rate and base else None

    def as_json(self) -> dict[str, Any]:
        """Give all figures, with ratios."""
        rows = [
            {
                "subject": row.subject,
                "rates": dict(row.rates),
                "ratios": {column: self.ratio(row.subject, column) for column in row.rates},
            }
            for row in self.rows
        ]
        return {
            "title": self.title,
            "workload": self.workload,
            "unit": self.unit,
            "reference": self.reference,
            "rows": rows,
            "notes": list(self.notes),
        }


def take_turns(subjects: Sequence[Subject], rounds: int) -> tuple[Row, ...]:
    """Measure all subjects, round by round; one round more goes before, to warm up."""
    best: dict[tuple[str, str], float] = {}
    for turn in range(rounds + 1):
        for subject in subjects:
            for column, work in subject.work.items():
                begin = perf_counter()
                work()
                rate = subject.amount[column] / (perf_counter() - begin)
                if turn:
                    key = (subject.name, column)
                    best[key] = max(best.get(key, 0.0), rate)
    return tuple(
        Row(subject.name, {column: best[subject.name, column] for column in subject.work})
        for subject in subjects
    )
