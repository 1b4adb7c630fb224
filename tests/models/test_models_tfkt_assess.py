"""The TFKT assessor: slices to scores, what is left out, and what a site has installed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from ctiqa_models import catalog
from ctiqa_models.adopting import adopt
from ctiqa_models.api import Assessment, HuVolume, ModelIdentity, ReasonCode, Status
from ctiqa_models.installed import Provenance, find, install
from ctiqa_models.n2q.body import find_anatomy, measure
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.plausible import PlainGate
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.tfkt.assess import Tfkt
from ctiqa_models.tfkt.preprocess import network_input
from ctiqa_models.tfkt.release import read_release, write_release
from ctiqa_models.weights import NotInstalledError, WeightsError, WeightsFile, load, save
from support.tfkt_release import untrained, write_untrained

SPACING = (5.0, 3.0, 3.0)
IDENTITY = ModelIdentity("tfkt", "1", "A score.", "nothing")
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
PROVENANCE = Provenance("tfkt-v2-public", "try-1", "", "", "2026-01-02T03:04:05+00:00", "random numbers")


class ShareOfBody(nn.Module):
    """Scores a slice by how much of it is brighter than fat: a network whose answers can be foreseen."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[1:] == (1, 512, 512)
        return 10 * (image > 0.65).float().mean(dim=(1, 2, 3)) - 1


class NoNumber(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.sum(dim=(1, 2, 3)) * torch.nan


def _disc(radius_mm: float, hu: float = 40.0) -> npt.NDArray[np.float32]:
    y, x = (np.mgrid[:128, :128] - 63.5) * SPACING[1]
    return np.where(np.hypot(x, y) < radius_mm, hu, -1000.0).astype(np.float32)


def _series(*slices: npt.NDArray[np.float32]) -> HuVolume:
    return HuVolume(np.stack(slices), SPACING)


def _assess(volume: HuVolume, network: nn.Module | None = None) -> Assessment:
    return Tfkt(network or ShareOfBody(), IDENTITY, "cpu").assess(volume, lambda share: None)


def _written(folder: Path) -> Path:
    return write_untrained(folder / "run" / "tfkt.safetensors", torch.from_numpy(np.stack([_disc(90), _disc(99)]))).path


def _values(assessment: Assessment) -> dict[str, float]:
    assert assessment.status is Status.SCORED, assessment.reason
    return {m.name: m.value for m in assessment.measurements if m.slice_index is None}


def test_a_series_has_mean_spread_minimum_and_median_of_its_slices() -> None:
    assessment = _assess(_series(*(_disc(radius) for radius in (80, 90, 100, 110, 120, 130))))
    scores = [m.value for m in assessment.measurements if m.slice_index is not None]
    area = [10 * np.pi * radius**2 / 384**2 - 1 for radius in (80, 90, 100, 110, 120, 130)]
    assert scores == pytest.approx(np.clip(area, 0, 4), abs=0.1)
    values = _values(assessment)
    assert list(values) == ["tfkt_score", "tfkt_spread", "tfkt_minimum", "tfkt_median", "tfkt_uncertainty"]
    assert values["tfkt_score"] == pytest.approx(np.mean(scores))
    assert values["tfkt_spread"] == pytest.approx(np.std(scores))
    assert values["tfkt_minimum"] == min(scores)
    assert values["tfkt_median"] == pytest.approx(np.median(scores))


def test_scores_stay_on_the_scale() -> None:
    assessment = _assess(_series(_disc(50), _disc(185)))
    assert [m.value for m in assessment.measurements if m.slice_index is not None] == [0, 4]


def test_slices_without_a_body_are_left_out_and_the_reason_told() -> None:
    assessment = _assess(_series(_disc(100), np.full((128, 128), -1000, np.float32), _disc(20), _disc(100), _disc(100)))
    assert [m.slice_index for m in assessment.measurements if m.slice_index is not None] == [0, 3, 4]
    assert assessment.unscored_slices == {
        1: "no body was found in the slice",
        2: "the body measures 12 cm², too little to judge",
    }


@pytest.mark.parametrize(
    ("volume", "network", "code", "words"),
    [
        (_series(*[_disc(1)] * 4), None, ReasonCode.TOO_LITTLE, "4 of 4 slices cannot be judged; most often: no body"),
        (_series(*[np.full((128, 128), np.nan, np.float32)] * 2), None, ReasonCode.TOO_LITTLE, "no body was found"),
        (_series(*[_disc(100, 1500.0)] * 2), None, ReasonCode.TOO_LITTLE, "the soft-tissue share of the body is"),
        (_series(_disc(100)), NoNumber(), ReasonCode.NO_NUMBER, "1 of 1 slices cannot be judged; most often: the net"),
        (HuVolume(_disc(100)[None, ::2], SPACING), None, ReasonCode.OUT_OF_RANGE, "the slices measure 384 × 192 mm"),
    ],
    ids=["air", "not a number", "bone", "no answer", "not square"],
)
def test_a_volume_that_cannot_be_judged_is_not_scored(
    volume: HuVolume, network: nn.Module | None, code: ReasonCode, words: str
) -> None:
    assessment = _assess(volume, network)
    assert assessment.reason_code is code
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason is not None
    assert words in assessment.reason
    assert assessment.measurements == ()


def test_progress_is_told_every_few_slices() -> None:
    shares: list[float] = []
    Tfkt(ShareOfBody(), IDENTITY, "cpu").assess(_series(*[_disc(100)] * 9), shares.append)
    assert shares == pytest.approx([4 / 9, 8 / 9, 1])


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_what_a_site_trained_scores_as_it_did_and_under_its_own_label(tmp_path: Path, variant: str) -> None:
    volume = HuVolume(anatomy(5, 4, 128), (5.0, 3.125, 3.125))
    release = untrained(torch.from_numpy(volume.hu), variant=variant, picture_size=128)
    file = write_release(release, tmp_path / "run" / "tfkt.safetensors")
    adopt(file.path, tmp_path, NOW, "try-1")
    tfkt = catalog.assessors("cpu", ["tfkt"], tmp_path)[0]
    identity = tfkt.identity
    assert (identity.name, identity.version, identity.trained_on) == ("tfkt", "try-1", "random numbers")
    assert identity.weights_sha256 == file.sha256
    with torch.inference_mode():
        expected = read_release(file).network(network_input(torch.from_numpy(volume.hu))).clamp(0, 4)
    assessment = tfkt.assess(volume, lambda share: None)
    assert assessment.status is Status.SCORED, assessment.reason
    found = [m.value for m in assessment.measurements if m.slice_index is not None]
    assert found == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_picture_unlike_those_of_the_training_is_left_out() -> None:
    release = untrained(torch.from_numpy(np.stack([_disc(radius) for radius in (100, 105, 110, 115)])), margin=1.0)
    odd = np.random.default_rng(1).normal(40, 400, (128, 128)).astype(np.float32)
    volume = _series(_disc(103), _disc(108), np.where(_disc(100) > 0, odd, -1000).astype(np.float32))
    assessment = Tfkt(release.network, IDENTITY, "cpu", familiarity=release.familiarity).assess(
        volume, lambda share: None
    )
    assert list(assessment.unscored_slices) == [2]
    assert "as unlike the training pictures as" in assessment.unscored_slices[2]


def test_uncertainty_is_how_far_flips_and_turns_change_a_score() -> None:
    class LeftSide(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 4 * (image[:, 0, :, :256] > 0.65).float().mean(dim=(1, 2))

    centred, left = _disc(100), np.roll(_disc(50), -25, axis=1)
    assert _values(_assess(_series(centred)))["tfkt_uncertainty"] == pytest.approx(0, abs=1e-6)
    area = 4 * np.pi * 50**2 / (384 * 192)
    # As it is and flipped up and down the disc lies left, else right or in the middle.
    expected = np.std([area, area, 0, area / 2])
    assert _values(_assess(_series(left), LeftSide()))["tfkt_uncertainty"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", ["tfkt_imported", "n2q_imported"])
def test_without_imported_weights_the_sentence_says_what_to_do(tmp_path: Path, name: str) -> None:
    for folder in (None, tmp_path, tmp_path / "none"):
        with pytest.raises(NotInstalledError, match="installed; import a checkpoint") as refused:
            catalog.assessors("cpu", [name], folder)
        assert str(tmp_path) not in str(refused.value)


def test_installed_weights_that_were_replaced_are_refused(tmp_path: Path) -> None:
    adopt(_written(tmp_path), tmp_path, NOW)
    with (tmp_path / "tfkt.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(WeightsError, match=r"not the one that was installed.*Install it again"):
        catalog.assessors("cpu", ["tfkt"], tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"architecture": "tfkt-v9"}, "architecture 'tfkt-v9'"), ({"label": None}, None)],
)
def test_a_record_that_tells_nonsense_is_refused(tmp_path: Path, change: dict[str, str], words: str | None) -> None:
    install(tmp_path, "tfkt_imported", {"a": torch.zeros(1)}, PROVENANCE)
    record = tmp_path / "tfkt_imported.json"
    content = json.loads(record.read_text())
    content["provenance"].update(change)
    if words is None:
        del content["provenance"]["label"]
    record.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=words or r"tfkt_imported\.json cannot be read .*Import the weights again"):
        catalog.assessors("cpu", ["tfkt_imported"], tmp_path)


def test_weights_of_another_version_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "tfkt.safetensors", {"a": torch.zeros(1)}, {"model": "tfkt", "recipe": "{}"})
    with pytest.raises(WeightsError, match="written by another version of ctiqa-node"):
        read_release(file)


def test_what_was_installed_is_found_again(tmp_path: Path) -> None:
    installed = install(tmp_path, "tfkt_imported", {"a": torch.zeros(1)}, PROVENANCE)
    assert find(tmp_path, "tfkt_imported") == installed
    assert find(tmp_path, "n2q_imported") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tfkt_imported.json", "tfkt_imported.safetensors"]
    assert datetime.datetime.fromisoformat(installed.provenance.installed_at).tzinfo is not None


def test_a_record_and_a_file_that_the_system_refuses_are_told_in_a_sentence(tmp_path: Path) -> None:
    refused = tmp_path / ("x" * 300)  # too long for a file system, whoever asks
    with pytest.raises(WeightsError, match=r"tfkt\.json cannot be read: File name too long"):
        find(refused, "tfkt")
    with pytest.raises(WeightsError, match="cannot be read: File name too long"):
        load(WeightsFile(refused, "0" * 64))


@pytest.mark.data
def test_no_real_slice_of_a_trunk_is_left_out(ctiqa_data: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    processing = pytest.importorskip("pydicom.pixels.processing")
    files = sorted((ctiqa_data / "slices").glob("*.dcm"))[::10]
    assert len(files) > 20
    for file in files:
        dataset = pydicom.dcmread(file)
        hu = processing.apply_rescale(dataset.pixel_array, dataset).astype(np.float32)
        small = to_matrix(torch.from_numpy(hu)[None])[0].numpy()
        features = measure(small, find_anatomy(small), float(dataset.PixelSpacing[0]) * len(hu))
        assert PlainGate().objection(features) is None, file.name
