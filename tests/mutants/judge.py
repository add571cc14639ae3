"""Judge: run the suite on the `kvbm` of the path, and print what it found as one line of JSON.

What this is
    The inner half of `hunt`, which runs it in a process of its own beside a mutated copy.

        python judge.py smoke KV-REG-03 KV-REG-04

    `[["KV-REG-03", 6, "what was seen"], …]`, the shortest history first; empty if it conforms.

Interface, as rules of use
    * The parts of the suite are those of `kvbm_spec.run`, the quick ones first, up to the
      first that finds one of these clauses broken.
    * The subject is that of `chosen`.
    * With a hash scheme of 64 bits some clauses of identity do not hold, whatever is done:
      see `DOES_NOT_HOLD`.
    * A part that hangs is for who started this to end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from typing import Final

from chosen import Chosen
from kvbm_spec.clauses import load
from kvbm_spec.explore import Findings
from kvbm_spec.profiles import PROFILES
from kvbm_spec.run import _Able, _gate, _Judge, _searches
from kvbm_spec.subject import Subject
from kvbm_spec.trials import TRIALS

DOES_NOT_HOLD: Final = {"dynamo": frozenset({"KV-IDN-04", "KV-IDN-05"})}
"""By scheme: no name and an empty one are the same there, and its hash can be inverted."""


def parts(subject: Subject, name: str) -> Iterator[Findings]:
    """Run the parts of the suite."""
    able, profile = _Able(subject), PROFILES[name]
    yield _gate(subject, profile)
    for trial in TRIALS:
        if able(trial.ability):
            yield trial.run(subject, name)
    for found, _ in _searches(subject, profile):
        yield found


def judge(
    subject: Chosen, profile: str, wanted: Collection[str] = ()
) -> list[tuple[str, int, str]]:
    """Give each clause that is broken, with the length of its shortest history and what it shows.

    A fault may also make the suite see less than it has to see: that is a length of 0.
    """
    findings = Findings()
    for found in parts(subject, profile):
        for clause in DOES_NOT_HOLD.get(subject.scheme, ()):
            found.failures.pop(clause, None)
        findings.merge(found)
        if found.failures.keys() & set(wanted):
            break
    if findings.failures:
        return sorted(
            (
                (clause, len(failure.steps), failure.verdict.what)
                for clause, failure in findings.failures.items()
            ),
            key=lambda row: row[1],
        )
    judged = _Judge(subject, findings, blocked=False)
    if subject.scheme in DOES_NOT_HOLD:
        return []
    results = [judged(clause.id) for clause in load()]
    return [(each.clause, 0, each.reason) for each in results if each.status.bad]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(judge(Chosen(), sys.argv[1], sys.argv[2:])) + "\n")
