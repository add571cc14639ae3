"""What the tests of this room share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["dynamo", "dynamo-v1", "lineage", "sha256"])
def scheme_name(request: pytest.FixtureRequest) -> str:
    """Each built-in hash scheme in turn."""
    return str(request.param)
