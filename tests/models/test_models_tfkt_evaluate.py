"""Measuring TFKT on tiny data: the tables, their rows, and what is kept for the next time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.data.sources import Sources
from ctiqa_models.evaluation.figures import Figure
from ctiqa_models.evaluation.render import as_text
from ctiqa_models.simulation.held_out_distortions import HeldOut
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.tfkt.bases import slice_base
from ctiqa_models.tfkt.evaluate import run
from ctiqa_models.tfkt.release import write_release
from ctiqa_models.tfkt.trials import at_doses, chosen, with_fault
from ctiqa_models.training.request import EvaluateRequest
from support.tfkt_release import untrained as untrained_release

SIZE = 96


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient who trains and one who validates."""
    folder = tmp_path_factory.mktemp("slices")
    for seed, patient in enumerate(("TCGA-17-Z013", "TCGA-34-5231")):
        write_slice(folder / f"{patient}.npz", TrainingSlice(anatomy(seed, 1, SIZE)[0].astype(np.int16), 4.0, patient))
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    full = anatomy(2, 1, SIZE)[0]
    quarter = full + np.random.default_rng(1).normal(0, 60, full.shape)
    np.savez(folder / "a.npz", full=full, quarter=quarter, spacing=4.0)
    return folder


@pytest.mark.slow
def test_the_tables_put_ours_beside_the_posters(slices: Path, pairs: Path, tmp_path: Path) -> None:
    familiar = torch.from_numpy(anatomy(1, 2, SIZE))
    release = untrained_release(familiar, picture_size=SIZE, pretrain=False)
    write_release(release, tmp_path / "a.safetensors")
    sources = Sources(slices=slices, pairs=pairs)
    request = EvaluateRequest(sources, tmp_path, ("pyiqa:niqe",), tmp_path / "cache", "cpu", 1, 10)
    agreement, untrained, ranking, both = run(request)
    assert [row.name for row in agreement.rows if row.source == "paper"][-1] == "TFKT"
    ours = [row for row in agreement.rows if row.source != "paper"]
    assert [row.name for row in ours] == ["TFKT v1 compact, no pre-training", "pyiqa:niqe"]
    assert ours[1].cells[0] == "pyiqa is not installed"
    figures = [cell for cell in ours[0].cells if isinstance(cell, Figure)]
    assert figures[3].value == pytest.approx(sum(figure.value for figure in figures[:3]))
    assert untrained.title.endswith("arcing, median")
    assert ranking.columns == ("dose", "patient motion", "rings", "metal streaks", "over-smoothing denoiser")
    assert all(isinstance(cell, Figure) and -1 <= cell.value <= 1 for cell in ranking.rows[0].cells)
    assert both.rows[0].cells[0] in ("0 of 1", "1 of 1")
    for table in (agreement, untrained, ranking, both):
        assert table.title in as_text([table])
    kept = {file.relative_to(tmp_path / "cache").as_posix() for file in (tmp_path / "cache").rglob("*.npy")}
    assert {"doses/TCGA-34-5231.npy", "rings/TCGA-34-5231.npy", "pictures/TCGA-34-5231.npy"} <= kept
    assert not [name for name in kept if "Z013" in name]


def test_dose_and_severity_change_a_slice_step_by_step(slices: Path) -> None:
    (file,) = chosen(sorted(slices.glob("*.npz")))
    base = slice_base(file, SIZE)
    for make in (at_doses, with_fault(HeldOut.RINGS), with_fault(HeldOut.OVER_SMOOTHING)):
        error = (make(base) - base.clean).square().mean(dim=(1, 2))
        assert bool((error.diff() > 0).all())


def test_without_anything_to_measure_on_the_sentence_says_so(tmp_path: Path) -> None:
    file = write_release(untrained_release(torch.from_numpy(anatomy(1, 2, SIZE))), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="none were given"):
        run(EvaluateRequest(Sources(), file.path, device="cpu"))
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no weights"):
        run(EvaluateRequest(Sources(), tmp_path / "none"))
