"""Subject: this package, as `kvbm conform kvbm` judges it."""

from __future__ import annotations

from kvbm_spec.subject import SPEC_VERSION, Capabilities, Env, PoolConfig

from kvbm.cli.subject.abilities import KvbmManager
from kvbm.cli.subject.disk import Persisting
from kvbm.cli.subject.hashing import KvbmHashing
from kvbm.cli.subject.tiers import Tiering
from kvbm.pool import POLICIES


class KvbmSubject(KvbmHashing, Persisting, Tiering):
    """The pool of this package, under every policy and with both answers to duplicates."""

    name = "kvbm"
    version = "0.1.0"
    spec_version = SPEC_VERSION

    def capabilities(self) -> Capabilities:
        """See Subject."""
        return Capabilities(
            policies=tuple(POLICIES),
            duplicates=("reject", "allow"),
            holds_parents=True,
            prefix_closed=("lineage", "lineage-fifo"),
            owners=True,
            threads=True,
        )

    def open(self, config: PoolConfig, env: Env) -> KvbmManager:
        """See Subject. The pool uses neither clock nor seed.

        Numbers of 64 bits are what the keys of the default scheme are.
        """
        del env
        return KvbmManager(config, self.scheme) if config.own_keys else KvbmManager(config)
