"""Judge: run the suite on the `kvbm` of the path, and print what it found as one line of JSON.

What this is
    The inner half of `hunt`, which runs it in a process of its own beside a mutated copy.

        python judge.py smoke

    `[["KV-REG-03", 6, "what was seen"], …]`, the shortest history first; empty if it conforms.
"""

from __future__ import annotations

import json
import sys

from kvbm_spec.run import run

from kvbm.cli.subject import KvbmSubject


def main(profile: str) -> None:
    """Run until the first search that finds something."""
    report = run(KvbmSubject(), profile, first=True)
    found = [
        (clause, len(failure.steps), failure.verdict.what)
        for clause, failure in report.findings.failures.items()
    ]
    # A fault may also make the suite see less than it has to see.
    found = found or [(each.clause, 0, each.reason) for each in report.results if each.status.bad]
    sys.stdout.write(json.dumps(sorted(found, key=lambda row: row[1])) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
