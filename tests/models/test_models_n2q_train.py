"""Training N2Q end to end on slices that the test makes: the recipe, the split by patient, the file that comes out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ctiqa_models import weights
from ctiqa_models.api import HuVolume
from ctiqa_models.n2q.assess import N2q
from ctiqa_models.n2q.batches import NO_CLASS, Bases, at_dose, blurred, collate, draw, loss_of, make_bases
from ctiqa_models.n2q.evaluate import evaluate
from ctiqa_models.n2q.examples import Examples, simulate_examples
from ctiqa_models.n2q.network import N2qNetwork
from ctiqa_models.n2q.preprocess import network_input
from ctiqa_models.n2q.recipe import read_recipe
from ctiqa_models.n2q.train import fit, split, train

_SIZE = 128
_SPACING = 3.0


def _write_slices(folder: Path, patients: int, each: int) -> None:
    generator = np.random.default_rng(1)
    axis = (np.arange(_SIZE) - (_SIZE - 1) / 2) * _SPACING
    for patient in range(patients):
        for number in range(each):
            radius = 110 + 10 * generator.random()
            hu = np.where((axis[:, None] / radius) ** 2 + (axis[None, :] / 150) ** 2 < 1, 40.0, -1000.0)
            hu += generator.normal(0, 8, hu.shape)
            np.savez(
                folder / f"p{patient}_{number}.npz",
                hu=hu.astype(np.int16),
                spacing_mm=np.array([_SPACING, _SPACING]),
                patient=f"patient-{patient}",
            )


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    folder = tmp_path_factory.mktemp("slices")
    _write_slices(folder, patients=6, each=1)
    return simulate_examples(folder)


@pytest.fixture(scope="module")
def bases(examples: Examples) -> Bases:
    return make_bases(examples)


def test_simulated_examples_survive_a_file(examples: Examples, tmp_path: Path) -> None:
    examples.save(tmp_path / "kept.npz")
    kept = Examples.load(tmp_path / "kept.npz")
    assert kept.patients == examples.patients
    assert np.array_equal(kept.noise, examples.noise)
    assert np.array_equal(kept.hu, examples.hu)


def test_realisations_of_one_kernel_are_equally_loud_and_independent(examples: Examples) -> None:
    noise = examples.noise[0, :, :, 80:176, 80:176].astype(np.float64)
    for own, added in noise:
        assert own.std() == pytest.approx(added.std(), rel=0.1)
        assert abs(np.corrcoef(own.ravel(), added.ravel())[0, 1]) < 0.1


def test_examples_of_some_patients_are_theirs_only(examples: Examples) -> None:
    some = examples.of(["patient-1", "patient-4"])
    assert some.patients == ("patient-1", "patient-4")
    assert len(some.hu) == len(some.noise) == len(some.fov_mm) == 2


def test_a_folder_without_slices_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no training slices: .* holds no \.npz file"):
        simulate_examples(tmp_path)


def test_no_patient_is_on_both_sides_and_adding_patients_moves_none() -> None:
    patients = tuple(f"patient-{number}" for number in range(200))
    training, validation = split(patients, 0.2)
    assert not set(training) & set(validation)
    assert set(training) | set(validation) == set(patients)
    assert 25 <= len(validation) <= 55
    assert set(split(patients[:50], 0.2)[1]) <= set(validation)


@pytest.mark.parametrize("dose", [0.05, 0.25, 0.75])
def test_a_picture_of_a_denoised_base_is_as_noisy_as_its_dose_says(bases: Bases, dose: float) -> None:
    pair = at_dose(bases, 0, 0, dose, denoised=True)
    middle = (slice(80, 176), slice(80, 176))
    full = float((pair.reference - bases.denoised[0])[middle].std())
    low = float((pair.picture - bases.denoised[0])[middle].std())
    assert low / full == pytest.approx(1 / math.sqrt(dose), rel=0.1)
    assert pair.dose_class == {0.05: 0, 0.25: 2, 0.75: 4}[dose]


def test_a_slice_as_it_came_has_no_dose_class(bases: Bases) -> None:
    assert at_dose(bases, 0, 0, 0.25, denoised=False).dose_class == NO_CLASS
    assert at_dose(bases, 0, 0, 1.0, denoised=True).dose_class == NO_CLASS


def test_full_dose_is_perfect_and_less_is_worse(bases: Bases) -> None:
    batch = collate([at_dose(bases, 1, 0, dose, denoised=True) for dose in (1.0, 0.5, 0.1)])
    perfect, half, tenth = batch.quality.mean(dim=(1, 2, 3)).tolist()
    assert perfect == pytest.approx(1, abs=1e-4)
    assert perfect > half > tenth


def test_blur_costs_quality(bases: Bases) -> None:
    batch = collate([blurred(bases, 1, sigma) for sigma in (0.0, 2.0)])
    sharp, soft = batch.quality.mean(dim=(1, 2, 3)).tolist()
    assert sharp == pytest.approx(1, abs=1e-4)
    assert soft < 0.999


def test_drawing_is_repeatable_and_varied(bases: Bases) -> None:
    recipe = read_recipe()
    first, again = (
        [draw(bases, 0, recipe, generator).picture for _ in range(4)]
        for generator in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(1))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_pictures_without_a_class_do_not_move_the_dose_loss(bases: Bases) -> None:
    batch = collate([at_dose(bases, 0, 0, 0.5, denoised=False)])
    painted = batch.quality * 2 - 1
    wild = torch.tensor([[9.0, -9.0, 3.0, 0.0, 1.0]])
    assert float(loss_of(painted, wild, batch, dose_weight=1.0)) == pytest.approx(0, abs=1e-6)


def test_evaluation_of_an_untrained_network_shows_that_it_knows_nothing(bases: Bases) -> None:
    two = Bases(bases.original[:2], bases.denoised[:2], bases.noise[:2])
    result = evaluate(N2qNetwork(2).eval(), two, channels=2)
    assert result.map_mse > result.constant_map_mse
    assert 0 <= result.dose_accuracy <= result.dose_within_one <= 1


def test_a_training_learns_and_writes_a_file_that_the_assessor_takes(examples: Examples, tmp_path: Path) -> None:
    recipe = replace(read_recipe(), epochs=1, fine_tuning_epochs=1, batch=2, validation_share=0.4)
    file, result = train(examples, recipe, tmp_path / "n2q.safetensors", torch.device("cpu"))
    assert math.isfinite(result.map_mse)
    n2q = N2q(file, device="cpu")
    assert n2q.identity.weights_sha256 == weights.sha256_of(file.path)
    hu = examples.hu[:2].astype(np.float32)
    assessment = n2q.assess(HuVolume(hu, (3.0, 1.5, 1.5)), lambda share: None)
    assert assessment.status == "scored", assessment.reason


def test_training_lowers_the_loss(bases: Bases, examples: Examples) -> None:
    recipe = replace(read_recipe(), epochs=2, fine_tuning_epochs=3, batch=3)
    batch = collate([at_dose(bases, index, 0, 0.1, denoised=True) for index in range(4)])
    image = network_input(batch.hu, recipe.channels)
    untrained, trained = N2qNetwork(2), fit(bases, examples.patients, recipe, torch.device("cpu")).train()
    with torch.inference_mode():
        before, after = (
            float(loss_of(network(image)[0], torch.zeros(4, 5), batch, 0.0)) for network in (untrained, trained)
        )
    assert after < 0.8 * before
