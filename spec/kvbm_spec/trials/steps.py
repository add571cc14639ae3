"""Steps: the few calls that nearly every scene begins with."""

from __future__ import annotations

from collections.abc import Sequence

from kvbm_spec.subject import Env, Handle, Key, Manager, PoolConfig
from kvbm_spec.trial import Script


def pool_config(script: Script, slots: int, *, own_keys: bool = False) -> PoolConfig:
    """Give a pool of the subject's default policy and answer to duplicates."""
    able = script.subject.capabilities()
    return PoolConfig(
        slots=slots,
        policy=able.policies[0],
        duplicates=able.duplicates[0],
        own_keys=own_keys,
    )


def open_pool(script: Script, slots: int, *, own_keys: bool = False) -> Manager:
    """Open a pool of the subject's default policy."""
    config = pool_config(script, slots, own_keys=own_keys)
    manager: Manager = script.call(f"open({slots} slots)", script.subject.open, config, Env())
    return manager


def publish(script: Script, manager: Manager, key: Key, parent: Key | None = None) -> Handle:
    """Allocate a block, stage it and register it; give the reader's handle."""
    handles = script.call("allocate(1)", manager.allocate, 1)
    script.expect(script.clause, bool(handles), "a slot was free or inactive, and none was given")
    text = f"stage(h, K{key})" if parent is None else f"stage(h, K{key}, parent=K{parent})"
    staged = script.call(text, manager.stage, handles[0], key, parent)
    return script.call("register(h)", manager.register, staged)


def publish_chain(script: Script, manager: Manager, keys: Sequence[Key]) -> list[Handle]:
    """Publish keys, each the parent of the next; give the handles."""
    parents = [None, *keys][: len(keys)]
    return [
        publish(script, manager, key, parent) for key, parent in zip(keys, parents, strict=True)
    ]


def release_all(script: Script, manager: Manager, handles: Sequence[Handle]) -> None:
    """Let go of handles, the last one first."""
    for handle in reversed(handles):
        script.call("release(h)", manager.release, handle)
