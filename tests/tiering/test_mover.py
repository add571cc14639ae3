"""Checksums that are kept beside slots, and what becomes of them."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from hand_mover import store, tier

from kvbm.tiering import EngineMover


@pytest.mark.clause("KV-INT-03")
def test_a_checksum_is_forgotten_with_the_tenant_of_its_slot():
    host, mover = tier("host", 1), EngineMover(engine=None)
    store(host, [1]).release()
    mover.keep(host, 0, b"of 1")
    assert mover.known(host, 0) == b"of 1"
    with host.pool.match_sequence_hashes([1]):
        assert mover.known(host, 0) == b"of 1"
    store(host, [2]).release()
    assert mover.known(host, 0) is None


def test_a_checksum_that_comes_when_its_block_is_gone_is_not_the_next_ones():
    host, mover = tier("host", 1), EngineMover(engine=None)
    store(host, [1]).release()
    then = int(host.pool.slots.records["generation"][0])
    store(host, [2]).release()
    future = Future()
    future.set_result([b"of 1"])
    mover._arrived(host, [(0, then)], SimpleNamespace(future=future))
    assert mover.known(host, 0) is None
