"""Replay: what a cache would have done with a recorded or invented stream of requests."""

from kvbm.replay.request import Request
from kvbm.replay.trace import Trace, read_trace

__all__ = ["Request", "Trace", "read_trace"]
