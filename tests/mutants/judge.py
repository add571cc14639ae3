"""Judge: run the suite on the `kvbm` of the path, and print what it found as one line of JSON.

What this is
    The inner half of `hunt`, which runs it in a process of its own beside a mutated copy.

        python judge.py lru KV-REG-03 KV-REG-04

    `[["KV-REG-03", 6, "what was seen"], …]`, the shortest history first; empty if it conforms.

Interface, as rules of use
    * The parts of the suite are those of `kvbm_spec.run`, the quick ones first, up to the
      first that finds one of these clauses broken.
    * The profile is `smoke`, in pools of the policy that is named: one of those that `ci`
      tries. An empty name is the default policy.
    * A part that hangs is for who started this to end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from kvbm_spec.clauses import load
from kvbm_spec.explore import Findings
from kvbm_spec.profiles import PROFILES
from kvbm_spec.run import _Able, _gate, _Judge, _searches
from kvbm_spec.subject import Capabilities, Subject
from kvbm_spec.trials import TRIALS

from kvbm.cli.subject import KvbmSubject

PROFILE: Final = "smoke"


class OnePolicy(KvbmSubject):
    """Our own manager, as if it knew one order of eviction alone."""

    def __init__(self, policy: str) -> None:
        self._policy = policy

    def capabilities(self) -> Capabilities:
        """See Subject."""
        able = super().capabilities()
        return replace(
            able,
            policies=(self._policy,),
            prefix_closed=tuple(each for each in able.prefix_closed if each == self._policy),
        )


def parts(subject: Subject) -> Iterator[Findings]:
    """Run the parts of the suite."""
    able, profile = _Able(subject), PROFILES[PROFILE]
    yield _gate(subject, profile)
    for trial in TRIALS:
        if able(trial.ability):
            yield trial.run(subject, PROFILE)
    for found, _ in _searches(subject, profile):
        yield found


def judge(subject: Subject, wanted: Collection[str] = ()) -> list[tuple[str, int, str]]:
    """Give each clause that is broken, with the length of its shortest history and what it shows.

    A fault may also make the suite see less than it has to see: that is a length of 0.
    """
    findings = Findings()
    for found in parts(subject):
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
    results = [judged(clause.id) for clause in load()]
    return [(each.clause, 0, each.reason) for each in results if each.status.bad]


if __name__ == "__main__":
    SUBJECT = OnePolicy(sys.argv[1]) if sys.argv[1] else KvbmSubject()
    sys.stdout.write(json.dumps(judge(SUBJECT, sys.argv[2:])) + "\n")
