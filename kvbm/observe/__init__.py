"""Observe: what a replay looked like, for people."""

from kvbm.observe.page import write_page
from kvbm.observe.report import Report

__all__ = ["Report", "write_page"]
