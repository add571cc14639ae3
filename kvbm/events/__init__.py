"""Events: what a pool stored and removed, numbered, for routers and observers."""

from kvbm.events.batch import EventBatch, Gap
from kvbm.events.log import EventLog, Reader, Subscription
from kvbm.events.mirror import Mirror, fold

__all__ = ["EventBatch", "EventLog", "Gap", "Mirror", "Reader", "Subscription", "fold"]
