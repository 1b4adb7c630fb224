"""A running node assesses the golden series before anything else, and says so in its status."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.running_node import RunningNode
from support.waiting import eventually


@pytest.mark.slow
def test_a_node_assesses_the_golden_series_when_it_starts(tmp_path: Path) -> None:
    with RunningNode(tmp_path / "node", worker={"assessors": ["snr"], "golden_check": True}) as node:
        golden = eventually(lambda: node.status()["golden"], 90)
        assert golden["ok"], golden
        assert golden["compared"] == ["snr"]
        assert "the shipped values, looked at" in node.run("status").stdout
