"""`kvbm bench`: speed of the core, beside its peers, in one run."""

from kvbm.cli.bench.command import add_arguments, run

__all__ = ["add_arguments", "run"]
