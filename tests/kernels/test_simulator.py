"""Every kernel equals its twin, in Numba's simulator: in a process of its own, since the
simulator is chosen when Numba is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kvbm_kernels import simulator
from kvbm_kernels.device import SIMULATED

HERE = Path(__file__).parent


@pytest.mark.skipif(SIMULATED, reason="this is the process with the simulator")
def test_the_kernels_pass_all_tests_in_the_simulator() -> None:
    command = [sys.executable, "-m", "pytest", str(HERE / "on_device"), "-x"]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(  # noqa: S603  # our own program and interpreter
        [*command, "-p", "no:cacheprovider"],
        capture_output=True, text=True, check=False, env=environment, cwd=HERE.parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\d\d passed", done.stdout), done.stdout
    assert not re.search(r"skipped|deselected", done.stdout), done.stdout


@pytest.mark.skipif(SIMULATED, reason="this is the process with the simulator")
def test_the_simulator_says_how_to_turn_it_on() -> None:
    with pytest.raises(RuntimeError, match="set NUMBA_ENABLE_CUDASIM=1"):
        simulator.run(())
