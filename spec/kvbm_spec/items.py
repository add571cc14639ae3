"""Items: the tests that the pytest plugin adds. See `plugin` for how to use them.

What this is
    One test for each clause. The first that runs runs the suite, and the others look up
    what it said.

Interface, as rules of use
    * `clause_items(session)` makes them.
    * SKIP and DISABLED are skips, EXPECTED FAIL is an xfail, and all that is bad fails.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvbm_spec.clauses import load
from kvbm_spec.command import Unusable, load_subject
from kvbm_spec.report import failure_text
from kvbm_spec.run import Report, run
from kvbm_spec.status import NOTHING_EXPECTED, Status, read_expectations

REPORT = pytest.StashKey[Report]()


def clause_items(session: pytest.Session) -> list[pytest.Item]:
    """Make one test for each clause."""
    return [ClauseItem.from_parent(session, name=clause.id) for clause in load()]


class ClauseItem(pytest.Item):
    """One clause."""

    def runtest(self) -> None:
        """Turn the status of the clause into that of a test."""
        report = _report(self.config)
        assert not report.problems, "; ".join(report.problems)
        result = next(each for each in report.results if each.clause == self.name)
        if result.status in (Status.SKIP, Status.DISABLED, Status.PREVIEW):
            pytest.skip(result.reason)
        if result.status is Status.EXPECTED_FAIL:
            pytest.xfail(result.reason)
        if result.status.bad:
            why = failure_text(result.failure, report) if result.failure else result.reason
            pytest.fail(f"{result.status} {why}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Name the clause, and no file: there is none."""
        return self.path, None, f"kvbm_spec {self.name}"


def _report(config: pytest.Config) -> Report:
    if REPORT not in config.stash:
        file = config.getoption("--kvbm-expect")
        try:
            subject = load_subject(config.getoption("--kvbm-subject"))
        except Unusable as error:
            raise pytest.UsageError(str(error)) from error
        config.stash[REPORT] = run(
            subject,
            config.getoption("--kvbm-profile"),
            expected=NOTHING_EXPECTED if file is None else read_expectations(Path(file)),
            today=datetime.now(UTC).date(),
        )
    return config.stash[REPORT]
