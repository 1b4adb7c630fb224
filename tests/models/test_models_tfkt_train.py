"""Training TFKT on tiny data of every kind, in the true formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.data.sources import Sources
from ctiqa_models.evaluation.figures import Figure
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.tfkt.evaluate import run as evaluate
from ctiqa_models.tfkt.recipe import DEFAULT_RECIPE, read_recipe
from ctiqa_models.tfkt.release import read_release
from ctiqa_models.tfkt.train import run
from ctiqa_models.training.request import EvaluateRequest, TrainRequest
from ctiqa_models.training.run import TrainingRun
from ctiqa_models.weights import WeightsFile, load
from support.rated import write_kadid, write_ldctiqac

TINY = {
    "phantoms": 0,
    "picture_size": 96,
    "photo_side": 96,
    "imagenet": False,
    "phase1": {"epochs": 1, "pictures": 4, "batch": 2, "crop": 64, "learning_rate": 1e-3, "warm_up": 0.1},
    "phase2": [
        {"epochs": 2, "pictures": 4, "batch": 2, "crop": 64, "learning_rate": 1e-3, "warm_up": 0.1},
        {"epochs": 1, "pictures": 2, "batch": 2, "crop": 96, "learning_rate": 1e-4, "warm_up": 0.0},
    ],
}


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two made-up patients, one of whom validates."""
    folder = tmp_path_factory.mktemp("slices")
    for seed, patient in enumerate(("a", "TCGA-34-5231")):
        hu = anatomy(seed, 1, 96)[0] + np.random.default_rng(seed).normal(0, 12, (96, 96))
        write_slice(folder / f"{patient}.npz", TrainingSlice(hu.astype(np.int16), 4.0, patient))
    return folder


def _recipe(folder: Path, **changed: object) -> Path:
    content = yaml.safe_load(DEFAULT_RECIPE.read_text()) | TINY | changed
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture(scope="module")
def trained(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WeightsFile]:
    """A whole training on simulated pictures, without phase 1."""
    out = tmp_path_factory.mktemp("run")
    return out, run(TrainRequest(Sources(slices=slices), out, _recipe(out, pretrain=False), "cpu"))


def test_a_training_leaves_weights_a_log_and_the_recipe(trained: tuple[Path, WeightsFile]) -> None:
    out, file = trained
    release = read_release(file)
    assert release.recipe == read_recipe(out / "recipe.yaml")
    assert release.curve is not None
    assert release.curve.scores[-1] > 3.5
    assert release.ranges is not None
    assert release.ranges.field_of_view_mm.low == pytest.approx(0.9 * 384)
    assert set(release.evaluation) == {"plcc", "srcc", "krcc"}
    assert "22 simulated pictures" in release.trained_on
    logs = [(out / stage / "log.csv").read_text().splitlines() for stage in ("phase2-1", "phase2-2")]
    assert [(rows[0], len(rows)) for rows in logs] == [("epoch,loss", 3), ("epoch,loss,choice", 2)]


def test_a_training_that_was_stopped_ends_with_the_same_weights(
    trained: tuple[Path, WeightsFile], slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = trained
    (tmp_path / "pictures").symlink_to(out / "pictures")
    request = TrainRequest(Sources(slices=slices), tmp_path, _recipe(tmp_path, pretrain=False), "cpu")
    end_epoch = TrainingRun.end_epoch

    def stopped(self: TrainingRun, epochs_done: int, **figures: float) -> None:
        end_epoch(self, epochs_done, **figures)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingRun, "end_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    resumed = load(run(request)).tensors
    for name, tensor in load(file).tensors.items():
        assert torch.equal(resumed[name], tensor), name


@pytest.mark.slow
def test_both_phases_learn_from_rated_pictures_and_are_measured_on_others(tmp_path: Path) -> None:
    readers = write_ldctiqac(tmp_path / "readers", slices=10)
    sources = Sources(kadid=write_kadid(tmp_path / "kadid", 12, 1, 2, size=80), ldctiqac=readers)
    file = run(TrainRequest(sources, tmp_path / "run", _recipe(tmp_path), "cpu"))
    release = read_release(file)
    assert release.curve is None
    assert release.ranges is None
    assert release.trained_on.startswith(
        "8 slices of LDCTIQAC 2023 with the scores of five radiologists; first on photo"
    )
    assert (tmp_path / "run" / "phase1" / "log.csv").exists()
    (table,) = evaluate(EvaluateRequest(Sources(ldctiqac=readers), file.path, device="cpu", resamples=10))
    assert table.title == "TFKT on LDCTIQAC 2023"
    assert "2 slices of LDCTIQAC 2023, radiologists' scores; the intervals are over slices." in table.notes
    assert [row.name for row in table.rows if row.source == "paper"][-1] == "TFKT"
    (ours,) = (row for row in table.rows if row.source == "measured")
    assert all(isinstance(cell, Figure) for cell in ours.cells)


def test_a_training_without_data_says_what_it_needs(slices: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="phase 2 needs CT slices"):
        run(TrainRequest(Sources(), tmp_path, _recipe(tmp_path), "cpu"))
    with pytest.raises(ValueError, match="exactly the keys of Recipe; look at: speed"):
        run(TrainRequest(Sources(slices=slices), tmp_path, _recipe(tmp_path, speed=1), "cpu"))
    with pytest.raises(ValueError, match="no picture is of the kind 'rings'"):
        run(TrainRequest(Sources(slices=slices), tmp_path, _recipe(tmp_path, choosing=["rings"]), "cpu"))
