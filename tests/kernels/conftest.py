"""The driver of host memory in place of CUDA's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from host_driver import Core, Driver
from kvbm_kernels import batch, driver, launch


@pytest.fixture
def fake(monkeypatch):
    made = Driver()
    monkeypatch.setattr(driver, "bindings", lambda: made)
    batch._copier.cache_clear()
    yield made
    batch._copier.cache_clear()


@pytest.fixture
def core(monkeypatch, fake):
    assert driver.bindings() is fake
    made = Core()
    monkeypatch.setattr(driver, "core", lambda: made)
    monkeypatch.setattr(driver, "missing", lambda: "")
    code = SimpleNamespace(get_kernel=lambda name: f"kernel {name}")
    monkeypatch.setattr(launch, "to_ptx", lambda *_: ".entry it(")
    monkeypatch.setattr(launch, "to_cubin", lambda *_: code)
    return made
