"""Windows: how many there are, and what they cover."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.identity import Windows
from kvbm.identity.tokens import as_tokens


@given(st.integers(0, 60), st.integers(1, 20), st.booleans())
def test_a_window_exists_if_all_its_tokens_do(count: int, block_size: int, is_eagle: bool) -> None:
    windows = Windows(as_tokens(range(count)), block_size, is_eagle)
    full = [k for k in range(count) if k * block_size + block_size + is_eagle <= count]
    assert len(windows) == len(full)
    for index in full:
        first = index * block_size
        expected = range(first, first + block_size + is_eagle)
        content = windows.content(index)
        assert content.tokens == b"".join(token.to_bytes(4, "little") for token in expected)
        assert content.media == b""
        assert content.block_size == block_size


@pytest.mark.parametrize(("tokens", "blocks"), [(12, 2), (13, 3)])
def test_an_eagle_window_needs_one_token_more(tokens: int, blocks: int) -> None:
    assert len(Windows(as_tokens(range(tokens)), 4, is_eagle=True)) == blocks
