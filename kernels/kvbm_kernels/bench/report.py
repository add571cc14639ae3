"""Print what was measured, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kvbm_kernels.bench.measuring import Ceilings, Row

HEAD: Final = (
    f"{'way':4} {'operation':26} {'method':20} {'tokens':>6} {'blocks':>6} {'MiB':>8}"
    f" {'device us':>10} {'host us':>9} {'GB/s':>8} {'ceiling':>8}"
)


def table(rows: Sequence[Row], limits: Ceilings) -> str:
    """Give the table as text; rows stay in their order."""
    lines = ["Ceilings, measured in this run:"]
    lines += [f"  {way.value}  {limit / 1e9:8.1f} GB/s" for way, limit in limits.items()]
    lines += ["  (D2D counts bytes read and written; a row's GB/s is payload)", "", HEAD]
    lines += [
        f"{row.way:4} {row.operation:26} {row.method:20} {row.tokens:6} {row.blocks:6}"
        f" {row.bytes / 2**20:8.1f} {row.device_us:10.1f} {row.host_us:9.1f}"
        f" {row.gigabytes_per_second:8.1f} {row.share_of_ceiling:8.0%}"
        for row in rows
    ]
    return "\n".join(lines)
