"""Types of the fixtures that make series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MakeSeries = Callable[..., list[Path]]
"""Writes a new simulated series and returns its files: `make(slices=16, **SeriesTags)`."""
