"""The written forms of a trace: each turns one JSON object into one `Request`."""

from kvbm.replay.formats.delta import DeltaForm
from kvbm.replay.formats.fields import Malformed
from kvbm.replay.formats.mooncake import MooncakeForm

__all__ = ["DeltaForm", "Malformed", "MooncakeForm"]
