"""Run kernels without a GPU: Numba's simulator, on host memory.

What this is
    Each thread of each CUDA block runs as plain Python, so that one can set a breakpoint
    in a kernel, and a test can compare it with its twin. About 9,000 threads a second: make
    grids tiny.

Interface, as rules of use
    * Set NUMBA_ENABLE_CUDASIM=1 before Python starts: it is read when Numba is imported.
    * Addresses are host addresses. A wrong one is a wild access here too.
"""

from __future__ import annotations

import warnings

from numba import cuda

from kvbm_kernels.device import SIMULATED
from kvbm_kernels.regions import THREADS
from kvbm_kernels.work import Works


def run(works: Works) -> None:
    """Run the works in order, to their end.

    Raises
    ------
    RuntimeError
        The simulator is not on in this process.
    """
    if not SIMULATED:
        raise RuntimeError("no simulator in this process: set NUMBA_ENABLE_CUDASIM=1 and restart")
    for work in works:
        addresses = tuple(table.ctypes.data for table in work.tables)
        with warnings.catch_warnings():
            # On a GPU integers wrap and NaN spreads without a word. Threads do not share errstate.
            warnings.simplefilter("ignore", RuntimeWarning)
            cuda.jit(work.kernel.function)[work.blocks, THREADS](*work.arguments(addresses))
