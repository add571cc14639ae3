"""Isolation: what one tenant has cached, no other finds; the tenant itself does.

What this is
    Tenants have one prompt and one pool. Each publishes its blocks, and all look for theirs:
    by match, by scan, by pin, and in the events. What leaves the subject is looked through
    for the salt itself.

Clauses: KV-ISO-01, KV-ISO-02, KV-ISO-03, KV-ISO-04
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kvbm_spec.abilities import Pinning
from kvbm_spec.identity import Exporting, Identity, Separating
from kvbm_spec.subject import Inspectable
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.asking import PLAIN, TOKENS, Question, ask, has_field, hasher
from kvbm_spec.trials.steps import open_pool, publish_chain, release_all

APART: Final = "KV-ISO-01"
FOUND: Final = "KV-ISO-02"
EVERYWHERE: Final = "KV-ISO-03"
UNTOLD: Final = "KV-ISO-04"

NAMES: Final = ("a", "b", "ab", "tenant/1", "tenant/2")
"""Whether the empty name is one is asked in KV-IDN-04."""

RAW: Final = "raw-salt-of-a-tenant"


def no_tenant_finds_the_blocks_of_another(script: Script) -> None:
    """Let each publish alone, and all look."""
    tenants = list(_tenants(script))
    for owner in tenants:
        pool = open_pool(script, slots=4, own_keys=True)
        keys = ask(script, Question(identity=owner))
        handles = publish_chain(script, pool, keys)
        for other in tenants:
            theirs = ask(script, Question(identity=other))
            hits = len(script.call(f"match, {other}", pool.match, theirs))
            found = len(script.call(f"scan, {other}", pool.scan, theirs))
            if other == owner:
                what = f"{owner} has published {len(keys)} blocks, and finds {hits} and {found}"
                script.expect(FOUND, hits == found == len(keys), what)
                continue
            what = f"({other}) finds {max(hits, found)} blocks of ({owner})"
            script.expect(APART, hits == found == 0, what)
            if isinstance(pool, Pinning):
                text = f"pin, {other}"
                script.refused(APART, "NotFound", text, pool.pin, theirs)
        release_all(script, pool, handles)
        script.lines.clear()
    script.reached("another tenant", "the same tenant")


def two_tenants_share_a_pool_and_nothing_else(script: Script) -> None:
    """Let two publish one prompt: neither takes the place of the other."""
    one, other = [*_tenants(script)][1:3]
    pool = open_pool(script, slots=6, own_keys=True)
    keys = {each: ask(script, Question(identity=each)) for each in (one, other)}
    for own in keys.values():
        publish_chain(script, pool, own)
    for tenant, own in keys.items():
        hits = script.call(f"match, {tenant}", pool.match, own)
        what = f"({tenant}) has published {len(own)} blocks, and finds {len(hits)}"
        script.expect(FOUND, len(hits) == len(own), what)
    if script.subject.capabilities().events:
        told = [event.key for event in pool.drain_events() if event.kind == "Stored"]
        wanted = [key for own in keys.values() for key in own]
        what = f"two tenants have stored {len(wanted)} blocks, and events name {len({*told})}"
        script.expect(EVERYWHERE, sorted(told, key=str) == sorted(wanted, key=str), what)


def keys_of_tenants_are_disjoint(script: Script) -> None:
    """Compare all keys of all tenants, with adapters and without, inside and outside."""
    places = {"block_keys": hasher(script).block_keys}
    if isinstance(script.subject, Exporting):
        places["external_keys"] = script.subject.external_keys
    others = [PLAIN] + [PLAIN.having(adapter="lora")] * has_field(script, "adapter")
    for place, name in places.items():
        for other in others:
            owners: dict[Any, Identity] = {}
            for tenant in _tenants(script):
                identity = tenant.having(adapter=other.adapter)
                for key in name(TOKENS, 4, identity):
                    owner = owners.setdefault(key, identity)
                    what = f"{place}: ({identity}) and ({owner}) have the key {key!r}"
                    script.expect(EVERYWHERE, owner == identity, what)
    script.reached("keys of tenants")


def a_salt_is_not_told(script: Script) -> None:
    """Look for the raw salt in keys, events, snapshot and log records."""
    identity = PLAIN.having(**dict.fromkeys(_fields(script), RAW))
    with _logged() as told:
        keys = ask(script, Question(identity=identity))
        pool = open_pool(script, slots=4, own_keys=True)
        handles = publish_chain(script, pool, keys)
        told += [repr(keys), *(repr(event) for event in pool.drain_events())]
        told += [repr(handle) for handle in handles]
        if isinstance(pool, Inspectable):
            told.append(repr(pool.snapshot()))
        if isinstance(script.subject, Exporting):
            told.append(repr(script.subject.external_keys(TOKENS, 4, identity)))
        told.append(hasher(script).hash_root())
    hidden = (RAW, RAW.encode().hex())
    shown = next((text for text in told if any(each in text for each in hidden)), None)
    script.expect(UNTOLD, shown is None, f"the salt can be read in {shown}")
    script.reached("looked for a salt")


def _fields(script: Script) -> tuple[str, ...]:
    assert isinstance(script.subject, Separating), "asked only of subjects with tenants"
    return script.subject.tenant_fields()


def _tenants(script: Script) -> Iterator[Identity]:
    """Give identities of tenants, by each field that keeps them apart; the plain one once."""
    yield PLAIN
    for name in _fields(script):
        yield from (PLAIN.having(**{name: value}) for value in NAMES)


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what is logged, at every level."""
    told: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    root, collector = logging.getLogger(), Collector()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    try:
        yield told
    finally:
        root.setLevel(level)
        root.removeHandler(collector)


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("another tenant", (APART, FOUND), "tenants", no_tenant_finds_the_blocks_of_another),
    Scene("one pool", (FOUND, EVERYWHERE), "tenants", two_tenants_share_a_pool_and_nothing_else),
    Scene("keys of tenants", (EVERYWHERE,), "tenants", keys_of_tenants_are_disjoint),
    Scene("raw salts", (UNTOLD,), "tenants", a_salt_is_not_told),
)

CHECKS: Final[Mapping[str, Check]] = {
    APART: Check(("another tenant",), "tenants"),
    FOUND: Check(("the same tenant",), "tenants"),
    EVERYWHERE: Check(("keys of tenants",), "tenants"),
    UNTOLD: Check(("looked for a salt",), "tenants"),
}
