"""Waiting for something that other threads or processes do, never longer than said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def eventually(predicate: Callable[[], Value], seconds: float = 10.0) -> Value:
    """The first true value of the predicate; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still {value!r} after {seconds} s")
        time.sleep(0.02)
