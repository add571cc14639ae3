"""The published traces lie beside the checkout, when they are there, and never in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture
def published() -> Callable[[str], Path]:
    """Give the path of a trace by its name, or skip the test and say why."""

    def locate(name: str) -> Path:
        path = DATA / f"{name}.jsonl.xz"
        if not path.exists():
            pytest.skip(f"{path.name} is not beside this checkout (looked in {DATA})")
        return path

    return locate
