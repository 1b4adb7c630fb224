"""What a wheel holds: without its migrations, configuration and weights an installed node could not start."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_wheel_holds_migrations_configuration_and_weights(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        check=True, timeout=170,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        "ctiqa_node/config.yaml",
        "ctiqa_node/migrations/env.py",
        "ctiqa_node/migrations/versions/0001_first_tables.py",
        "ctiqa_node/migrations/versions/0002_refused_and_more_kinds.py",
        "ctiqa_models/n2q/weights/n2q.safetensors",
        "ctiqa_models/n2q/recipe.yaml",
        "ctiqa_models/trunk/weights/trunk.safetensors",
        "ctiqa_models/tfkt/weights/tfkt.safetensors",
        "ctiqa_models/tfkt/recipe.yaml",
        "ctiqa_models/chest_ctiqa/weights/chest_ctiqa.safetensors",
        "ctiqa_models/chest_ctiqa/recipe.yaml",
        "ctiqa_models/data/split.yaml",
    }
    assert expected <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"ctiqa_node", "ctiqa_models"}
