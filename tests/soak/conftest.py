"""The options of `make soak`."""

from __future__ import annotations

import random

import pytest

MOST_KILLS = 100


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
