"""The rule sets by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kvbm.replay.rules.kvcache_sim import TreeRules
from kvbm.replay.rules.lmcache import LmcacheRules
from kvbm.replay.rules.manager import ManagerRules
from kvbm.replay.rules.mocker import MockerRules
from kvbm.replay.ruleset import RuleSet

RULES: Final = MappingProxyType[str, RuleSet](
    {rules.name: rules for rules in (ManagerRules(), MockerRules(), LmcacheRules(), TreeRules())}
)
"""Rule set by the name that `--rules` knows; `kvbm` is the default."""
