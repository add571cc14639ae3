"""Compile every kernel and read its machine code. No GPU is needed; exit status 1 if it is bad.

Run: make check-sass
"""

from __future__ import annotations

import sys

from kvbm_kernels import build, inspection
from kvbm_kernels.catalogue import FAST, NARROW
from kvbm_kernels.device import WHY_NOT

CAPABILITIES = ((8, 0), (9, 0), (10, 0))


def main() -> int:
    """Print a line for each kernel and target; give the number of bad ones, at most 1."""
    if WHY_NOT or build.disassembler() is None:
        print(WHY_NOT or "nvdisasm is not installed: install the extra cuda13", file=sys.stderr)
        return 1
    print(*(f"{name} {version}" for name, version in build.versions().items()), sep="\n")
    print(f"\n{'kernel':32} sm   instructions  16-byte loads  stores  in flight")
    bad = 0
    for kernel in FAST + NARROW:
        for capability in CAPABILITIES:
            code = inspection.of_sass(build.disassemble(build.to_cubin(kernel, capability)))
            complaints = code.complaints()
            bad += bool(complaints)
            print(
                f"{kernel.name:32} {capability[0]}.{capability[1]:<3} {code.instructions:10}"
                f"  {code.wide_loads:13}  {code.wide_stores:6}  {code.in_flight:9}",
                *complaints,
            )
    print(f"\n{bad} bad" if bad else "\nno spills, no 64-bit divisions")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
