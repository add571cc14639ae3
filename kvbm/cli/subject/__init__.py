"""Adapters: how the conformance suite gets at this package.

What this is
    Adapters between the protocols of `kvbm_spec` and `kvbm`: names and errors are
    translated, and nothing is decided here. Examples for adapters of other managers.

Interface, as rules of use
    * `kvbm conform kvbm` runs the suite on `KvbmSubject`; so does `kvbm.cli.subject:KvbmSubject`.
    * Read `pool` first: it has the calls of every pool. `abilities` adds what more there is, and
      `hashing` how blocks are named.
"""

from kvbm.cli.subject.abilities import KvbmManager
from kvbm.cli.subject.subject import KvbmSubject

__all__ = ["KvbmManager", "KvbmSubject"]
