"""The figures that N2Q is judged by, on pictures whose predictions the test makes up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ctiqa_models.evaluation.figures import plcc
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.pictures import Picture, PictureSet, of_pairs


def _picture(patient: str, dose: float, found: int, predicted: float, true: float) -> Picture:
    return Picture(
        patient=patient,
        dose=dose,
        dose_class=DOSE_CLASSES.index(dose) if dose < 1 else -1,
        found_class=found,
        mse=(predicted - true) ** 2,
        ssim=1 - abs(predicted - true),
        constant_mse=0.01,
        constant_ssim=0.6,
        body=(predicted, true),
        tissue=(predicted / 2, true / 2),
    )


@pytest.fixture
def pictures() -> PictureSet:
    made = []
    for patient, shift in (("a", 0.0), ("b", 0.02), ("c", -0.02)):
        made.append(_picture(patient, 1.0, 4, 0.95, 1.0))
        for index, dose in enumerate(DOSE_CLASSES):
            true = 0.5 + 0.1 * index
            made.append(_picture(patient, dose, min(index + (patient == "c"), 4), true + shift, true))
    return PictureSet("made up", made, resamples=50)


def test_full_dose_counts_for_nothing_but_the_order(pictures: PictureSet) -> None:
    """Its true map is 1 everywhere: the tables are about what lies below it."""
    assert pictures.mean(lambda picture: picture.mse).value == pytest.approx((0 + 2 * 0.02**2) / 3)
    assert pictures.full_above_quarter() == "3 of 3"


def test_dose_classes_are_counted_where_they_were_taken_for(pictures: PictureSet) -> None:
    table = pictures.confusion()
    assert table.sum() == 15
    assert np.diag(table).tolist() == [2, 2, 2, 2, 3]
    assert np.diag(table, 1).tolist() == [1, 1, 1, 1]
    assert pictures.share_within(0).value == pytest.approx(11 / 15)
    assert pictures.share_within(1).value == 1


def test_figures_come_with_intervals_over_patients(pictures: PictureSet) -> None:
    r = pictures.figure(plcc, lambda picture: picture.body)
    assert r.low is not None
    assert r.high is not None
    assert 0.98 < r.low <= r.value <= r.high <= 1


class _Painter(torch.nn.Module):
    """Paints the same quality everywhere: so much less, the more the picture varies."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def look(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        level = 1 - image[:, :, 100:150, 100:150].std(dim=(1, 2, 3)) * self.scale
        painted = level[:, None, None, None].expand(-1, 1, 256, 256)
        return painted, torch.zeros(len(image), 5), torch.zeros(len(image), 4)


def test_pairs_are_mixed_to_every_dose_and_never_named_by_class(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    full = np.where(np.hypot(*np.mgrid[-128:128, -128:128]) < 100, 40.0, -1000.0)
    quarter = full + generator.normal(0, 20, full.shape)
    np.savez(tmp_path / "made_P1_x.npz", full=full.astype(np.int16), quarter=quarter.astype(np.int16))
    found = of_pairs(_Painter(), [tmp_path / "made_P1_x.npz"], 1)  # type: ignore[arg-type] # looks as a network does
    assert [picture.dose for picture in found] == [1.0, *DOSE_CLASSES]
    assert {picture.patient for picture in found} == {"P1"}
    true = [picture.tissue[1] for picture in found]
    assert true[0] == pytest.approx(1, abs=1e-3)
    assert true[1:] == sorted(true[1:])
    assert PictureSet("pairs", found, 0).full_above_quarter() == "1 of 1"
