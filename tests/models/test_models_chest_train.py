"""Training and measuring Chest CT-IQA, very small: phantoms and a few made-up slices."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ctiqa_models import weights
from ctiqa_models.chest_ctiqa import train
from ctiqa_models.chest_ctiqa.batches import collate, drawn, odds_of, whole
from ctiqa_models.chest_ctiqa.evaluate import run as evaluate
from ctiqa_models.chest_ctiqa.examples import NO_CLASS, Example, load_examples
from ctiqa_models.chest_ctiqa.network import Task
from ctiqa_models.chest_ctiqa.preprocess import Shape
from ctiqa_models.chest_ctiqa.recipe import DEFAULT_RECIPE
from ctiqa_models.chest_ctiqa.release import WEIGHTS_NAME, read_release
from ctiqa_models.chest_ctiqa.volumes import AS_IT_CAME, DENOISED, PHANTOM, SHARPENED
from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.data.sources import Sources
from ctiqa_models.data.split import is_held_out
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.training.request import EvaluateRequest, TrainRequest
from ctiqa_models.training.run import LOG, TrainingRun

_MATRIX = 96
_TINY = {
    "slices": 2,
    "size": 32,
    "widths": [2, 2, 2, 2, 2],
    "hidden": [4, 4],
    "phantoms": 4,
    "matrix": _MATRIX,
    "draws": 1,
    "epochs": 2,
    "dropout_free_epochs": 1,
    "batch": 4,
}


_SHAPE = Shape(slices=2, size=32)


def _recipe(folder: Path, **changes: object) -> Path:
    content = yaml.safe_load(DEFAULT_RECIPE.read_text())
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**content, **_TINY, **changes}))
    return file


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chest slices of one patient who trains and one who validates, and an abdomen."""
    folder = tmp_path_factory.mktemp("slices")
    body = anatomy(7, 9, _MATRIX, 380.0)
    for patient, kernel in (("99000", "STANDARD"), ("C3L-00189", "LUNG")):
        for index, hu in enumerate(body[[0, 5, 6]]):
            one = TrainingSlice(hu.round().astype(np.int16), 380.0 / _MATRIX, patient, kernel, 5.0)
            write_slice(folder / f"{patient}-{index}.npz", replace(one, thickness_mm=1.0 if index == 0 else 5.0))
    return folder


@pytest.fixture(scope="module")
def trained(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, weights.Weights]:
    out = tmp_path_factory.mktemp("run")
    made = train.run(TrainRequest(Sources(slices=slices), out, _recipe(out), "cpu"))
    return out, weights.load(made)


def test_every_body_is_scanned_at_both_exposures_and_with_both_kinds_of_kernel(
    trained: tuple[Path, weights.Weights],
) -> None:
    examples = load_examples(trained[0] / train.EXAMPLES, _SHAPE)
    phantoms = [one for one in examples if one.origin == PHANTOM]
    assert len(phantoms) == 4 * _TINY["phantoms"]  # type: ignore[operator] # the numbers above are of many types
    for origin, count in ((PHANTOM, 4), (DENOISED, 4)):
        body = [one for one in examples if one.origin == origin][:count]
        assert {(one.window, one.exposure) for one in body} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(np.isfinite(one.snr).all() and np.isfinite(one.brisque).all() for one in phantoms)


def test_real_series_have_their_kernels_window_and_no_exposure(trained: tuple[Path, weights.Weights]) -> None:
    examples = load_examples(trained[0] / train.EXAMPLES, _SHAPE)
    real = {(one.patient, one.window, one.exposure) for one in examples if one.origin == AS_IT_CAME}
    assert real == {("99000", 1, NO_CLASS), ("C3L-00189", 0, NO_CLASS)}  # and no abdomen among them
    assert [(one.patient, one.window) for one in examples if one.origin == SHARPENED] == [("99000", 0)]
    assert sum(one.origin == AS_IT_CAME for one in examples) == 2


def test_a_run_leaves_weights_recipe_and_log_and_is_done_when_asked_again(
    trained: tuple[Path, weights.Weights], slices: Path
) -> None:
    out, made = trained
    assert made.metadata["model"] == "chest_ctiqa"
    again = train.run(TrainRequest(Sources(slices=slices), out, _recipe(out), "cpu"))
    _assert_same_weights(weights.load(again), made)
    release = read_release(again)
    assert release.recipe.epochs == 2
    assert "phantoms" in release.trained_on
    rows = list(csv.DictReader((out / LOG).open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "window", "exposure", "snr", "brisque"} <= set(rows[0])


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    trained: tuple[Path, weights.Weights], slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = trained
    (tmp_path / train.EXAMPLES).symlink_to(out / train.EXAMPLES)
    request = TrainRequest(Sources(slices=slices), tmp_path, _recipe(tmp_path), "cpu")
    end_epoch = TrainingRun.end_epoch

    def stop(self: TrainingRun, epochs_done: int, **figures: float) -> None:
        end_epoch(self, epochs_done, **figures)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "end_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train.run(request)
    torch.rand(7)
    _assert_same_weights(weights.load(train.run(request)), made)


def _assert_same_weights(first: weights.Weights, second: weights.Weights) -> None:
    assert first.metadata == second.metadata
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


def test_evaluation_prints_the_papers_tables_with_ours_beside(
    trained: tuple[Path, weights.Weights], slices: Path
) -> None:
    out, _ = trained
    file = out / WEIGHTS_NAME
    tables = evaluate(EvaluateRequest(Sources(slices=slices), file, ("pyiqa:niqe",), cache=out, resamples=20))
    classes, numbers, window, gate = tables
    assert [row.source for row in classes.rows][:2] == ["paper", "paper"]
    ours = [row for row in classes.rows if row.source == "measured"]
    assert ours
    assert all(len(row.cells) == 8 for row in classes.rows)
    assert all(len(row.cells) == 6 for row in numbers.rows)
    assert any("No reader" in note for note in classes.notes)
    held_out = {row.name: row.cells for row in window.rows}
    assert held_out["all"][1:] == ("3", "1")  # one unseen patient's slices, the abdomen among them
    assert held_out["kernel LUNG"][1:] == ("3", "1")
    assert {row.name for row in gate.rows} == {"simulated", PHANTOM, DENOISED, AS_IT_CAME}


def test_a_folder_of_weights_gives_each_variant_its_rows(
    trained: tuple[Path, weights.Weights], slices: Path, tmp_path: Path
) -> None:
    out, _ = trained
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes((out / WEIGHTS_NAME).read_bytes())
    for name, changes in (("b", {"tasks": ["snr"], "epochs": 1}), ("c", {"loss_weights": [50, 50, 5, 1], "epochs": 1})):
        (tmp_path / name).mkdir()
        (tmp_path / name / train.EXAMPLES).symlink_to(out / train.EXAMPLES)
        recipe = _recipe(tmp_path / name, **changes)
        made = train.run(TrainRequest(Sources(slices=slices), tmp_path / name, recipe, "cpu"))
        (folder / f"{name}.safetensors").write_bytes(made.path.read_bytes())
    classes, numbers = evaluate(EvaluateRequest(Sources(slices=slices), folder, cache=out, resamples=20))
    rows = {row.name: row.cells for row in classes.rows if row.source == "measured"}
    simulated = {name for name in rows if name.endswith(", simulated")}
    assert {f"ours ({name}), simulated" for name in ("separate", "snr alone", "separate, λ 50 50 5 1")} == simulated
    assert rows["ours (snr alone), simulated"] == (None,) * 8
    alone = next(row.cells for row in numbers.rows if row.name == "ours (snr alone), simulated")
    assert alone[2] is not None
    assert alone[3:] == (None,) * 3


def test_weights_that_look_at_series_differently_are_not_measured_together(
    trained: tuple[Path, weights.Weights], slices: Path, tmp_path: Path
) -> None:
    other = train.run(TrainRequest(Sources(), tmp_path, _recipe(tmp_path, epochs=1, phantoms=3), "cpu"))
    (tmp_path / "a.safetensors").write_bytes((trained[0] / WEIGHTS_NAME).read_bytes())
    assert other.path.parent == tmp_path
    with pytest.raises(ValueError, match="different pictures"):
        evaluate(EvaluateRequest(Sources(slices=slices), tmp_path))


def test_without_slices_phantoms_train_alone(tmp_path: Path) -> None:
    made = train.run(TrainRequest(Sources(), tmp_path, _recipe(tmp_path, epochs=1, phantoms=3), "cpu"))
    assert "of 0 patients" in read_release(made).trained_on


def test_nobody_trains_on_the_validation_side(trained: tuple[Path, weights.Weights]) -> None:
    training, validation = train.divide(load_examples(trained[0] / train.EXAMPLES, _SHAPE))
    assert {is_held_out(one.patient) for one in training} == {False}
    assert {is_held_out(one.patient) for one in validation} == {True}


def _example(**changes: object) -> Example:
    maps = torch.linspace(0, 2, 7 * 2 * 4 * 4).reshape(7, 2, 4, 4)
    snr, brisque = np.asarray([10.0, 20.0]), np.asarray([30.0, 40.0])
    plain = Example(maps, 0.7, 360.0, "a", PHANTOM, "", 1, 0, snr, brisque, ())
    return replace(plain, **changes)  # type: ignore[arg-type] # the tests name the fields


def test_the_truth_of_some_slices_is_their_own() -> None:
    shape = Shape(slices=2, size=4)
    generator = torch.Generator().manual_seed(0)
    shown = [drawn(_example(), shape, generator)[1] for _ in range(40)]
    assert {truth[Task.SNR] for truth in shown} == {10.0, 15.0, 20.0}
    assert {truth[Task.BRISQUE] - truth[Task.SNR] for truth in shown} == {20.0}


def test_unknown_numbers_stay_unknown_and_others_count() -> None:
    half = _example(brisque=np.asarray([np.nan, 40.0]), window=NO_CLASS)
    batch = collate([whole(half, Shape(slices=2, size=4)), whole(_example(), Shape(slices=2, size=4))])
    assert batch.truth[Task.BRISQUE].tolist() == [40.0, 35.0]
    assert batch.truth[Task.WINDOW].tolist() == [NO_CLASS, 1]
    assert batch.image.shape == (2, 7, 2, 4, 4)


def test_a_patient_with_many_series_does_not_crowd_out_the_others() -> None:
    real = [_example(patient="b", origin=AS_IT_CAME), _example(patient="c", origin=AS_IT_CAME, window=0)]
    assert odds_of([_example()] * 4 + real, 2.0, 5.0).tolist() == pytest.approx([0.5] * 4 + [2.0, 10.0])
