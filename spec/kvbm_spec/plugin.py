"""Plugin: the suite inside pytest, one test for each clause.

What this is
    `pytest --kvbm-subject mypkg.kv:Subject` judges a subject among the tests of its own
    repository, with the same failures as the command.

Interface, as rules of use
    * Without `--kvbm-subject` nothing happens, and nothing is imported: pytest loads this
      module wherever the package is installed.
    * `--kvbm-profile` and `--kvbm-expect` are options of the command.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("kvbm", "conformance of KV block managers")
    profiles = ("smoke", "ci", "nightly")
    group.addoption("--kvbm-subject", metavar="MODULE:CLASS", help="the subject to judge")
    group.addoption("--kvbm-profile", choices=profiles, default="smoke", help="how hard")
    group.addoption("--kvbm-expect", metavar="FILE", help="failures that are known")


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add one test for each clause."""
    if config.getoption("--kvbm-subject"):
        from kvbm_spec.items import clause_items  # noqa: PLC0415 - see the rules of use

        items += clause_items(session)
