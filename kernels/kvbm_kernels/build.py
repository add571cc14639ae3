"""Compile a kernel: Python to PTX to a cubin, with no GPU and no driver.

What this is
    The three steps, and two looks at what came out: `disassemble` for tests and for the
    curious, `versions` for the head of every report, since these packages must fit each
    other: a linker or driver refuses PTX that a later compiler wrote.

Interface, as rules of use
    * `device.WHY_NOT` is empty, or nothing compiles.
    * A cubin fits one compute capability, given as (9, 0), and later minor ones.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from numba import cuda

from kvbm_kernels import driver
from kvbm_kernels.device import WHY_NOT, numba_type
from kvbm_kernels.work import Kernel

Capability = tuple[int, int]

PACKAGES: Final = (
    *("numba", "numba-cuda", "llvmlite", "numpy", "ml_dtypes"),
    *("cuda-bindings", "cuda-core", "cuda-pathfinder"),
    *("nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvrtc", "nvidia-cuda-nvdisasm"),
    *("torch", "kvikio-cu13", "kvikio-cu12"),
)
"""What decides about code and speed, if it is there."""


@cache
def to_ptx(kernel: Kernel, capability: Capability) -> str:
    """Compile to PTX. About half a second.

    Raises
    ------
    RuntimeError
        Nothing compiles here. It says what is missing.
    """
    if WHY_NOT:
        raise RuntimeError(WHY_NOT)
    signature = tuple(map(numba_type, kernel.parameters))
    ptx: str = cuda.compile_ptx(kernel.function, signature, cc=capability)[0]
    return ptx


def entry(ptx: str) -> str:
    """Give the name by which a kernel is found in its code."""
    found = re.search(r"\.entry\s+([\w$]+)", ptx)
    if found is None:
        raise ValueError("this PTX has no kernel")
    return found[1]


def to_cubin(kernel: Kernel, capability: Capability) -> Any:
    """Compile to a `cuda.core.ObjectCode`; `get_kernel(entry(ptx))` loads it on a GPU."""
    core = driver.core()
    code = core.ObjectCode.from_ptx(to_ptx(kernel, capability).encode())
    options = core.LinkerOptions(arch=f"sm_{capability[0]}{capability[1]}")
    return core.Linker(code, options=options).link("cubin")


def disassembler() -> Path | None:
    """Find nvdisasm among the installed packages."""
    try:
        import nvidia  # noqa: PLC0415  # a namespace of many packages
    except ImportError:
        return None
    tools = (tool for root in nvidia.__path__ for tool in Path(root).glob("cu*/bin/nvdisasm"))
    return next(tools, None)


def disassemble(cubin: Any) -> str:
    """Give the machine code as text (SASS)."""
    tool = disassembler()
    if tool is None:
        raise RuntimeError("nvdisasm is not installed: install the extra cuda13")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin.code)
        file.flush()
        command = [str(tool), "-c", file.name]
        return subprocess.check_output(command, text=True)  # noqa: S603  # our own tool and file


def versions() -> dict[str, str]:
    """Give the versions of all packages that matter; "absent" for those that are not there."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found
