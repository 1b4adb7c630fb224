"""The trunk gate: what it looks at, how it is learnt, and what it says of unseen and of spoilt trunks."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pydicom
import pydicom.data
import pytest
import torch
from pydicom.pixels.processing import apply_rescale

from ctiqa_models import weights
from ctiqa_models.api import FloatArray, ReasonCode
from ctiqa_models.composition import COUNT, PARTS, composition
from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.simulation.distortions_ct import Acquisition, degrade, take_projections
from ctiqa_models.simulation.held_out_distortions import HeldOut, distort_held_out
from ctiqa_models.simulation.kernel_noise import kernel_noise
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.projector import SHARP
from ctiqa_models.simulation.strangers import Kind, stranger
from ctiqa_models.trunk.fit import fit
from ctiqa_models.trunk.gate import PREFIX, TRUNK_WEIGHTS, TrunkGate, load_trunk

FIELD_MM = 400.0


@pytest.fixture(scope="module")
def chest() -> FloatArray:
    return anatomy(seed=501, slices=1, size=256, field_of_view_mm=FIELD_MM)[0]


def _distance(hu: FloatArray, field_of_view_mm: float = FIELD_MM, gate: TrunkGate | None = None) -> float:
    return (gate or load_trunk()).distance(hu, find_anatomy(hu), field_of_view_mm)


def test_the_parts_name_every_number_once() -> None:
    places = [place for part in PARTS.values() for place in range(part.start, part.stop)]
    assert places == list(range(COUNT))


def test_a_mirrored_slice_has_the_same_composition(chest: FloatArray) -> None:
    mirrored = np.ascontiguousarray(chest[:, ::-1])
    same = composition(mirrored, find_anatomy(mirrored), FIELD_MM)
    assert np.allclose(same, composition(chest, find_anatomy(chest), FIELD_MM), atol=1e-3)


def test_noise_makes_no_stranger_of_a_trunk(chest: FloatArray) -> None:
    for deviation in (20.0, 60.0, 120.0):
        noisy = chest + kernel_noise(np.random.default_rng(1), 256, deviation)
        assert _distance(noisy) < min(1.0, 1.3 * _distance(chest))


def test_a_spoilt_trunk_stays_a_trunk(chest: FloatArray) -> None:
    generator = torch.Generator().manual_seed(1)
    projections = take_projections(torch.from_numpy(chest)[None], FIELD_MM / 256)
    spoilt = [degrade(projections, Acquisition(dose=0.05, views=64, kernel=SHARP), generator)]
    spoilt += [distort_held_out(projections, kind, 4, generator) for kind in HeldOut]
    assert max(_distance(one[0].numpy()) for one in spoilt) <= 1


@pytest.mark.parametrize("level", [-1000.0, 0.0])
def test_air_alone_and_water_alone_are_no_trunk(level: float) -> None:
    flat = np.full((256, 256), level, dtype=np.float32)
    assert np.isfinite(composition(flat, find_anatomy(flat), FIELD_MM)).all()
    objection = load_trunk().objection(flat, find_anatomy(flat), FIELD_MM)
    assert objection is not None
    assert (objection.feature, objection.code) == (
        ("body", ReasonCode.TOO_LITTLE) if level < -400 else ("trunk", ReasonCode.OTHER_ANATOMY)
    )


def test_the_objection_says_how_far_and_what_differs_most(chest: FloatArray) -> None:
    objection = load_trunk().objection(chest, find_anatomy(chest), 60.0)
    assert objection is not None
    assert "times as unlike an adult's chest or abdomen as one may be, most of all in size and outline" in (
        objection.sentence
    )


def test_weights_that_are_missing_or_of_another_kind_are_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(weights.WeightsError, match="missing"):
        load_trunk(replace(TRUNK_WEIGHTS, path=tmp_path / "none.safetensors"))
    other = weights.save(tmp_path / "other.safetensors", {"mean": torch.zeros(3)}, {})
    with pytest.raises(weights.WeightsError, match="no trunk gate"):
        load_trunk(other)
    narrow = {name: torch.zeros(2) for name in ("mean", "spread", "basis", "limits")}
    short = weights.save(tmp_path / "short.safetensors", {PREFIX + name: one for name, one in narrow.items()}, {})
    with pytest.raises(weights.WeightsError, match="another version"):
        load_trunk(short)


def test_a_gate_fitted_on_few_patients_knows_others_and_refuses_a_head(tmp_path: Path) -> None:
    for seed in range(5):
        for index, hu in enumerate(anatomy(seed, 3, 96, FIELD_MM)):
            one = TrainingSlice(np.rint(hu).astype(np.int16), FIELD_MM / 96, patient="A002304" if seed else "A027284")
            write_slice(tmp_path / f"{seed}_{index}.npz", one)
    familiarity, trained_on = fit(tmp_path, phantoms=2)
    assert trained_on == "12 original CT slices of 1 patients and 8 slices of 2 made-up ones"
    gate = TrunkGate(familiarity)
    head = stranger(Kind.HEAD, 1, slices=1)
    assert _distance(head.hu[0], 256 * head.spacing_mm[1], gate) > 1
    assert _distance(anatomy(600, 1, 256, FIELD_MM)[0], gate=gate) < 2


def _shipped_with_pydicom(name: str) -> tuple[FloatArray, float]:
    """The square part of a picture among pydicom's own files, and its field of view in mm."""
    dataset = pydicom.dcmread(Path(pydicom.data.__file__).parent / "test_files" / name)
    hu = apply_rescale(dataset.pixel_array, dataset).astype(np.float32)
    side = min(hu.shape)
    return hu[:side, :side], float(dataset.PixelSpacing[0]) * side


def _mr_shipped_with_matplotlib() -> tuple[FloatArray, float]:
    file = Path(mpl.get_data_path()) / "sample_data" / "s1045.ima.gz"
    return np.frombuffer(gzip.decompress(file.read_bytes()), ">u2").reshape(256, 256).astype(np.float32), 256.0


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(partial(_shipped_with_pydicom, "693_J2KI.dcm"), id="head CT, above the eyes"),
        pytest.param(partial(_shipped_with_pydicom, "J2K_pixelrep_mismatch.dcm"), id="head CT, base of the skull"),
        pytest.param(partial(_shipped_with_pydicom, "CT_small.dcm"), id="a vertebra that fills the picture"),
        pytest.param(partial(_shipped_with_pydicom, "examples_overlay.dcm"), id="MR of the abdomen"),
        pytest.param(_mr_shipped_with_matplotlib, id="MR of the head, from the side"),
    ],
)
@pytest.mark.parametrize("level", [0.0, -1024.0])
@pytest.mark.parametrize("field_of_view_mm", [None, FIELD_MM])
def test_real_strangers_are_refused_at_their_own_size_and_at_a_trunks(
    read: Callable[[], tuple[FloatArray, float]], level: float, field_of_view_mm: float | None
) -> None:
    hu, own_mm = read()
    matrix = to_matrix(torch.from_numpy(hu + level)[None])[0].numpy()
    assert _distance(matrix, field_of_view_mm or own_mm) > 1.2


@pytest.mark.data
def test_the_slice_of_the_transfer_syntaxes_is_a_trunk(ctiqa_data: Path) -> None:
    dataset = pydicom.dcmread(ctiqa_data / "transfer_syntaxes" / "CTImage.dcm")
    hu = torch.from_numpy(apply_rescale(dataset.pixel_array, dataset).astype(np.float32))[None]
    assert _distance(to_matrix(hu)[0].numpy(), float(dataset.PixelSpacing[0]) * 512) <= 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("series", "is_trunk"),
    [
        ("abdomen-ge-standard", True),
        ("abdomen-siemens-b30s", True),
        ("chest-ge-lung", True),
        ("chest-siemens-b31f", True),
        ("head-phantom-philips-ub", False),
    ],
)
def test_real_trunks_are_accepted_and_a_plastic_head_is_not(ctiqa_data: Path, series: str, is_trunk: bool) -> None:
    files = sorted((ctiqa_data / "series" / series).glob("*.dcm"))
    for file in files[1 :: len(files) // 3]:
        dataset = pydicom.dcmread(file)
        hu = torch.from_numpy(apply_rescale(dataset.pixel_array, dataset).astype(np.float32))[None]
        field_of_view_mm = float(dataset.PixelSpacing[0]) * hu.shape[1]
        assert (_distance(to_matrix(hu)[0].numpy(), field_of_view_mm) <= 1) is is_trunk


@pytest.mark.data
def test_both_doses_of_the_pairs_are_trunks(ctiqa_data: Path) -> None:
    for file in sorted((ctiqa_data / "pairs").glob("*.npz"))[::5]:
        with np.load(file) as pair:
            for dose in ("full", "quarter"):
                hu = to_matrix(torch.from_numpy(pair[dose].astype(np.float32))[None])[0].numpy()
                assert _distance(hu, float(pair["spacing"][0]) * pair[dose].shape[0]) <= 1
