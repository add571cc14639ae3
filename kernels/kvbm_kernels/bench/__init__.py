"""Benchmark of the kernels on a GPU: what moves how fast, beside the driver's copies and torch."""

from kvbm_kernels.bench.cases import Case, cases
from kvbm_kernels.bench.measuring import Row, ceilings, measure
from kvbm_kernels.bench.memory import Arena, Layout
from kvbm_kernels.bench.report import table

__all__ = ["Arena", "Case", "Layout", "Row", "cases", "ceilings", "measure", "table"]
