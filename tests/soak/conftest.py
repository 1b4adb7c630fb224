"""The options of `make soak`."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from soak_report import Report

from ctiqa_node import __version__

MOST_KILLS = 100
_REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("soak")
    group.addoption("--kills", type=int, default=MOST_KILLS, help="SIGKILLs of the node, over all seeds")
    group.addoption("--seed", type=int, default=None, help="the first seed; chosen by chance where none is given")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(10**6)


def pytest_report_header(config: pytest.Config) -> str:
    return f"soak: --kills={config.option.kills} --seed={config.option.seed}"


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How often the node is to be killed, over all seeds."""
    return int(pytestconfig.option.kills)


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The first seed."""
    return int(pytestconfig.option.seed)


@pytest.fixture(scope="session")
def soak_report(pytestconfig: pytest.Config) -> Report:
    """Where each soak puts down what it counted."""
    about = {
        "version": __version__, "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "cores": os.cpu_count(),
        "python": platform.python_version(), "kills": pytestconfig.option.kills, "seed": pytestconfig.option.seed,
    }  # fmt: skip
    report = pytestconfig.stash[_REPORT] = Report(about)
    return report


@pytest.fixture
def report_seconds() -> Callable[[], float]:
    """The seconds since the test began."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash.get(_REPORT, None)
    if report is not None and report.rows:
        terminalreporter.section("soak")
        terminalreporter.write(report.text())
