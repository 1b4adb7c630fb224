"""Fixtures that every room's tests share."""

from __future__ import annotations

import logging
import os
import socketserver
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ctiqa_node.config import LoggingSection
from ctiqa_node.logs import configure_logging
from support.series import MakeSeries

_SPACING = (5.0, 1.6, 1.6)
_DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def ctiqa_data() -> Path:
    """The folder of real CT series (CTIQA_DATA, or ../shared/data); the test is left out where there is none."""
    folder = Path(os.environ.get("CTIQA_DATA") or _DEFAULT_DATA)
    if not (folder / "series").is_dir():
        pytest.skip(f"needs real CT series: no 'series' in {folder} (set CTIQA_DATA)")
    return folder


@pytest.fixture
def configure_logs() -> Iterator[Callable[..., None]]:
    """configure_logs(format=…, level=…): logs as the node writes them; afterwards those of the test run again."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield lambda **settings: configure_logging(LoggingSection(**settings))
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def servers_that_stop_at_once() -> None:
    """Servers look every 20 ms whether they shall stop, not every half second, for which each test would wait."""
    socketserver.BaseServer.serve_forever.__defaults__ = (0.02,)


@pytest.fixture(scope="session")
def simulated_hu() -> npt.NDArray[np.float32]:
    """Sixteen simulated slices of 256 × 256, 1.6 mm pixels, at half the reference dose."""
    from ctiqa_models.simulation.series import Scan, simulate_series  # torch, which most tests do without

    return simulate_series(3, 16, 256, Scan(dose_fraction=0.5, field_of_view_mm=256 * 1.6)).hu


@pytest.fixture
def make_series(simulated_hu: npt.NDArray[np.float32], tmp_path: Path) -> MakeSeries:
    """Write so many of the simulated slices as a new series, from the first again when they are used up."""
    from ctiqa_node.ct.writer import SeriesTags, write_series

    made = 0

    def make(slices: int = 16, **tags: object) -> list[Path]:
        nonlocal made
        made += 1
        return write_series(
            np.resize(simulated_hu, (slices, *simulated_hu.shape[1:])),
            _SPACING,
            tmp_path / f"series-{made}",
            tags=SeriesTags(**tags),
        )

    return make
