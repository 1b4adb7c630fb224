"""Fixtures that every room's tests share."""

from __future__ import annotations

import logging
import os
import socketserver
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctiqa_node.config import LoggingSection
from ctiqa_node.logs import configure_logging

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
