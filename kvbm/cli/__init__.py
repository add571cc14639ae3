"""The command `kvbm`."""

from kvbm.cli.main import main

__all__ = ["main"]
