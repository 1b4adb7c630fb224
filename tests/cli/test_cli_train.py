"""`train` and `evaluate`: from a folder of data to weights, and to the tables of the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli_state import Ran, Run

from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.data.split import is_held_out
from ctiqa_models.n2q.recipe import DEFAULT_RECIPE
from ctiqa_models.weights import sha256_of
from ctiqa_node import laboratory

Train = Callable[..., Ran]

PATIENTS = ("patient-2", "patient-3", "patient-4")
PHASE = {"epochs": 1, "steps": 2, "batch": 2, "crop": 64, "dropout": 0.0, "learning_rate": 0.001}


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice of each of three bodies, 128×128; one validates."""
    assert [is_held_out(patient) for patient in PATIENTS] == [True, False, False]
    folder = tmp_path_factory.mktemp("slices")
    generator = np.random.default_rng(1)
    y, x = (np.mgrid[:128, :128] - 63.5) * 3.0
    for index, patient in enumerate(PATIENTS):
        hu = np.where((y / (100 + 5 * index)) ** 2 + (x / 150) ** 2 < 1, 40.0, -1000.0)
        hu += generator.normal(0, 8, hu.shape)
        write_slice(folder / f"{patient}.npz", TrainingSlice(hu.astype(np.int16), 3.0, patient, "B30f", 3.0))
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    content = yaml.safe_load(DEFAULT_RECIPE.read_text(encoding="utf-8"))
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({**content, "phantoms": 0, "phases": [PHASE]}), encoding="utf-8")
    return file


@pytest.fixture
def train(run: Run, slices: Path, recipe: Path, tmp_path: Path) -> Train:
    def call(*more: str, data: Path = slices) -> Ran:
        given = ("--data", str(data), "--recipe", str(recipe), "--out", str(tmp_path / "run"), "--device", "cpu")
        return run("train", "n2q", *given, *more)

    return call


def test_a_training_ends_in_weights_that_can_be_measured_and_installed(
    run: Run,
    train: Train,
    slices: Path,
    recipe: Path,
    tmp_path: Path,
) -> None:
    done = train()
    assert done.exit_code == 0, done.stderr
    weights = tmp_path / "run" / "n2q.safetensors"
    assert f"Weights  {weights}" in done.stdout
    assert f"SHA-256  {sha256_of(weights)}" in done.stdout
    assert f"Log      {tmp_path / 'run' / 'phase-1' / 'log.csv'}" in done.stdout
    assert f"ctiqa-node model import {weights} --as trained" in done.stdout
    assert f"{slices}: training slices." in done.stderr

    written = weights.stat().st_mtime_ns
    assert train().stdout == done.stdout  # what is finished is told again, not done again
    assert weights.stat().st_mtime_ns == written
    recipe.write_text(recipe.read_text() + "# another\n")
    other = train()
    assert other.exit_code == 1
    assert "holds a training with another recipe" in other.stderr

    given = ("--data", str(slices), "--weights", str(weights), "--resamples", "20", "--device", "cpu")
    measured = run("evaluate", "n2q", *given, "--format", "json")
    assert measured.exit_code == 0, measured.stderr
    tables = measured.json  # progress went to standard error
    rows = {row["name"]: row["cells"] for row in tables[0]["rows"] if row["source"] == "poster"}
    assert rows["N2Q"][0]["value"] == 0.7664
    assert any(row["source"] == "measured" for row in tables[0]["rows"])

    imported = run("model", "import", str(weights), "--as", "trained")
    assert imported.exit_code == 0, imported.stderr
    assert "is imported as n2q" in imported.stdout


def test_wrong_data_leave_nothing_behind_that_is_in_the_way(train: Train, tmp_path: Path) -> None:
    refused = train(data=tmp_path / "nowhere")
    assert refused.exit_code == 1
    assert "nowhere is not a folder" in refused.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is of no kind that is known" in train(data=empty).stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finished: int,
) -> None:
    def interrupted(job: laboratory.TrainingJob, tell: laboratory.Tell) -> laboratory.Trained:
        if finished:
            (job.out / "phase-1").mkdir(parents=True)
            (job.out / "phase-1" / "checkpoint.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(laboratory, "train", interrupted)
    stopped = train()
    assert stopped.exit_code == 130
    assert ("the last whole epoch is kept" if finished else "no epoch was finished yet") in stopped.stderr
    assert "The same command goes on from there." in stopped.stderr


def test_tables_can_be_written_to_a_file(
    run: Run, slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[laboratory.EvaluationJob] = []

    def measure(job: laboratory.EvaluationJob, tell: laboratory.Tell) -> str:
        asked.append(job)
        return "### Table\n"

    monkeypatch.setattr(laboratory, "evaluate", measure)
    given = ("--data", str(slices), "--format", "markdown", "--against", "pyiqa:niqe", "--cache", str(tmp_path))
    done = run("evaluate", "tfkt", *given, "--out", str(tmp_path / "t.md"))
    assert done.stdout == f"Written to {tmp_path / 't.md'}.\n"
    assert (tmp_path / "t.md").read_text() == "### Table\n"
    assert (asked[0].form, asked[0].against, asked[0].work) == ("markdown", ("pyiqa:niqe",), tmp_path)
    refused = run("evaluate", "tfkt", *given, "--out", str(tmp_path / "none" / "t.md"))
    assert refused.exit_code == 1
    assert "t.md: No such file or directory." in refused.stderr


def test_a_gpu_that_is_not_there_is_said_at_once(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = train("--device", "cuda")
    assert refused.exit_code == 1
    assert "There is no GPU that can be used" in refused.stderr


def test_wrong_usage_is_refused_before_anything_begins(run: Run, slices: Path) -> None:
    assert run("train", "vgg", "--data", str(slices)).exit_code == 2
    assert run("train", "n2q").exit_code == 2
    assert run("train", "n2q", "--data", str(slices), "--recipe", "none.yaml").exit_code == 2
    odd = run("evaluate", "tfkt", "--data", str(slices), "--against", "niqe")
    assert odd.exit_code == 2
    assert "write pyiqa:NAME" in odd.stderr
