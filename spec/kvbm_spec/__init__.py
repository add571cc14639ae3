"""The executable specification of a KV block manager. It never imports `kvbm`."""

from kvbm_spec.clauses import Clause, Group, Level, Need, UnknownClause, groups, load, lookup

__all__ = [
    "Clause",
    "Group",
    "Level",
    "Need",
    "UnknownClause",
    "groups",
    "load",
    "lookup",
]
