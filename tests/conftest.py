"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def ctiqa_data() -> Path:
    """The folder of real CT series (CTIQA_DATA, or ../shared/data); the test is left out where there is none."""
    folder = Path(os.environ.get("CTIQA_DATA") or _DEFAULT_DATA)
    if not (folder / "series").is_dir():
        pytest.skip(f"needs real CT series: no 'series' in {folder} (set CTIQA_DATA)")
    return folder
