"""How long a courier waits after a failed try."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_node.config import DeliverySection
from ctiqa_node.delivery import back_off


@given(
    attempts=st.integers(1, 100_000),
    first=st.floats(0.01, 1000, allow_nan=False),
    longest=st.floats(0.01, 2_000_000, allow_nan=False),
)
def test_the_wait_doubles_up_to_the_longest(attempts: int, first: float, longest: float) -> None:
    settings = DeliverySection(first_retry_seconds=first, max_retry_seconds=longest)
    wait, next_wait = back_off(attempts, settings), back_off(attempts + 1, settings)
    limit = timedelta(seconds=longest)
    assert timedelta(0) < wait <= next_wait <= limit
    assert next_wait == limit or next_wait == pytest.approx(wait * 2, rel=1e-3)
    assert back_off(1, settings) == min(timedelta(seconds=first), limit)
