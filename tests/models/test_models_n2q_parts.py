"""The parts of N2Q: network, preprocessing, SSIM, denoising, anatomy, domain, recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctiqa_models.n2q.body import Features, find_anatomy, measure
from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.n2q.domain import Domain, learn_domain
from ctiqa_models.n2q.network import LEVELS, MultiscaleHead, N2qNetwork
from ctiqa_models.n2q.preprocess import high_pass, network_input, to_matrix
from ctiqa_models.n2q.recipe import DEFAULT_RECIPE, read_recipe
from ctiqa_models.n2q.ssim import ssim_map
from ctiqa_models.n2q.variants import VARIANTS, VariantName, build, contrastive_loss
from ctiqa_models.resample import resize
from ctiqa_models.voi import ABDOMEN, Window


def _ellipse(size: int = 256, half_height: float = 0.3, half_width: float = 0.4, hu: float = 40.0) -> torch.Tensor:
    axis = (torch.arange(size) + 0.5) / size - 0.5
    inside = (axis[:, None] / half_height) ** 2 + (axis[None, :] / half_width) ** 2 < 1
    return torch.where(inside, hu, -1000.0)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_network_paints_a_map_and_names_a_dose(channels: int, norm: str) -> None:
    network = N2qNetwork(channels, norm).eval()  # type: ignore[arg-type] # parametrised with its two literals
    painted, logits = network(torch.randn(2, channels, 64, 64))
    assert painted.shape == (2, 1, 64, 64)
    assert float(painted.detach().abs().max()) < 1
    assert logits.shape == (2, 5)


def test_the_network_has_the_published_width() -> None:
    weights = N2qNetwork(2).state_dict()
    shapes = [tuple(weights[f"encoder.{level}.0.weight"].shape[:2]) for level in range(5)]
    assert shapes == [(16, 2), (32, 16), (64, 32), (128, 64), (256, 128)]


def test_only_instance_norm_is_blind_to_the_amplitude_of_noise() -> None:
    """Why batch normalisation ships: the published one rescales every picture."""
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 64, 64)
    for norm, blind in (("instance", True), ("batch", False)):
        network = N2qNetwork(1, norm).eval()  # type: ignore[arg-type] # its two literals
        with torch.inference_mode():
            loud, quiet = network(noise * 0.8)[0], network(noise * 0.2)[0]
        assert (float((loud - quiet).abs().max()) < 0.01) == blind


@pytest.mark.parametrize("head", ["bottleneck", "multiscale"])
def test_the_dose_branch_may_be_the_published_one_or_see_all_levels(head: str) -> None:
    network = N2qNetwork(2, head=head).eval()  # type: ignore[arg-type] # its two literals
    with torch.inference_mode():
        painted, logits, features = network.look(torch.randn(3, 2, 32, 32))
    assert painted.shape == (3, 1, 32, 32)
    assert logits.shape == (3, 5)
    assert features.shape == (3, 256)


def test_what_saturates_in_the_window_does_not_reach_the_multiscale_branch() -> None:
    """Only the averages leave it out: the encoder's own neighbourhoods still see it, so a wide border stays between."""
    torch.manual_seed(0)
    network = N2qNetwork(2, head="multiscale").eval()
    assert isinstance(network.dose, MultiscaleHead)
    image = torch.full((1, 2, 64, 64), -1.0)
    image[..., 24:40, 24:40] = 0.2
    levels = [torch.randn(1, width, 64 >> depth, 64 >> depth) for depth, width in enumerate(LEVELS)]
    changed = [level.clone() for level in levels]
    changed[0][..., :8, :8] += 5
    inside = [level.clone() for level in levels]
    inside[0][..., 30:34, 30:34] += 5
    assert torch.equal(network.dose(image, levels), network.dose(image, changed))
    assert not torch.equal(network.dose(image, levels), network.dose(image, inside))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_of_the_poster_paints_a_map_from_its_channels(name: VariantName) -> None:
    network = build(name, "batch", 0.0, "bottleneck").eval()
    with torch.inference_mode():
        painted, logits, features = network.look(torch.randn(2, VARIANTS[name].channels, 32, 32))
    assert painted.shape == (2, 1, 32, 32)
    assert float(painted.abs().max()) <= 1
    assert logits.shape == (2, 5)
    assert features.ndim == 2


def test_an_autoencoder_lets_nothing_past_its_bottleneck() -> None:
    image = torch.randn(1, 1, 32, 32)
    for name, passes in (("ae", False), ("u-net", True)):
        network = build(name, "batch", 0.0, "bottleneck").eval()  # type: ignore[arg-type] # two of its literals
        assert isinstance(network, N2qNetwork)
        for parameter in network.encoder[4].parameters():
            torch.nn.init.zeros_(parameter)
        with torch.inference_mode():
            same = torch.equal(network.look(image)[0], network.look(image * 2)[0])
        assert same != passes


def test_pictures_of_one_dose_attract_and_others_repel() -> None:
    doses = torch.tensor([0, 0, 1, 1])
    parted = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    mixed = parted[[0, 2, 1, 3]]
    assert float(contrastive_loss(parted, doses)) < 0.1 < float(contrastive_loss(mixed, doses))


def test_the_contrastive_loss_of_two_pairs_is_the_formula_written_out() -> None:
    unit = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(4)), dim=1)
    likeness = (unit @ unit.T / 0.1).exp().numpy()
    terms = [
        -np.log(likeness[one, friend] / (likeness[one].sum() - likeness[one, one]))
        for one, friend in ((0, 1), (1, 0), (2, 3), (3, 2))
    ]
    assert float(contrastive_loss(unit * 3, torch.tensor([0, 0, 1, 1]))) == pytest.approx(np.mean(terms), rel=1e-4)
    assert float(contrastive_loss(unit, torch.tensor([-100, -100, 0, 1]))) == 0


def test_the_window_maps_its_ends_to_black_and_white() -> None:
    grey = ABDOMEN.apply(torch.tensor([-2000.0, -110.0, 40.0, 190.0, 3000.0]))
    assert grey.tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    with pytest.raises(ValueError, match="width"):
        Window(40, 0)


def test_network_input_is_scaled_to_plus_and_minus_one() -> None:
    image = network_input(torch.tensor([-110.0, 190.0]).repeat(128).expand(1, 256, 256), channels=2)
    assert image.shape == (1, 2, 256, 256)
    assert set(image[:, 0].flatten().tolist()) == {-1, 1}
    with pytest.raises(ValueError, match="channels"):
        network_input(torch.zeros(1, 256, 256), channels=3)


def test_the_high_pass_keeps_noise_and_drops_what_is_smooth() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    assert float(high_pass(ramp)[..., 8:-8, 8:-8].abs().max()) < 1e-3
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    assert float(high_pass(noise).std()) > 0.8 * float(noise.std())


def test_padding_outside_the_reconstruction_circle_is_air() -> None:
    assert float(to_matrix(torch.full((1, 512, 512), -3024.0)).min()) == pytest.approx(-1024)


@settings(max_examples=20, deadline=None)
@given(value=st.floats(-1000, 1000), rows=st.integers(16, 60), columns=st.integers(16, 60))
def test_resizing_keeps_a_constant(value: float, rows: int, columns: int) -> None:
    assert torch.allclose(resize(torch.full((1, rows, columns), value), (24, 24)), torch.tensor(value), atol=1e-2)


def test_resizing_averages_the_noise_of_single_pixels() -> None:
    noise = torch.randn(1, 256, 256, generator=torch.Generator().manual_seed(1))
    assert float(resize(noise, (128, 128)).std()) < 0.6


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    picture = torch.rand(1, 1, 32, 32)
    assert torch.allclose(ssim_map(picture, picture), torch.ones(1, 1, 32, 32), atol=1e-4)


def test_ssim_of_two_constants_is_its_luminance_term() -> None:
    first, second = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    assert torch.allclose(ssim_map(first, second), torch.tensor(expected), atol=1e-4)


def test_ssim_at_the_centre_follows_the_formula_written_out() -> None:
    generator = np.random.default_rng(3)
    x, y = generator.random((11, 11)), generator.random((11, 11))
    offset = np.arange(11) - 5
    weight = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy, cov = (weight * x * x).sum() - mx**2, (weight * y * y).sum() - my**2, (weight * x * y).sum() - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    found = ssim_map(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None])
    assert float(found[0, 0, 5, 5]) == pytest.approx(expected, rel=1e-9)


def test_more_noise_is_less_similar() -> None:
    generator = torch.Generator().manual_seed(2)
    picture, noise = torch.full((1, 1, 64, 64), 0.5), torch.randn(1, 1, 64, 64, generator=generator)
    means = [float(ssim_map(picture, picture + amount * noise).mean()) for amount in (0.0, 0.01, 0.05, 0.2)]
    assert means == sorted(means, reverse=True)


def test_ssim_refuses_what_is_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="SSIM needs"):
        ssim_map(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_denoising_removes_noise_and_keeps_edges() -> None:
    clean = _ellipse(128)[None]
    noisy = clean + 20 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    denoised = total_variation(noisy, torch.tensor([20.0]))
    body = _ellipse(128, 0.25, 0.35)[None] > 0
    assert float(denoised[body].std()) < 8
    assert float(denoised[0, 64, 8]) < -900 < 0 < float(denoised[0, 64, 18])


def test_denoising_leaves_the_mean_and_a_constant_alone() -> None:
    noisy = torch.randn(1, 32, 48, generator=torch.Generator().manual_seed(4)) * 10 + 5
    assert float(total_variation(noisy, torch.tensor([10.0])).mean()) == pytest.approx(float(noisy.mean()), abs=1e-3)
    assert torch.allclose(total_variation(torch.full((1, 8, 8), 7.0), torch.tensor([5.0])), torch.tensor(7.0))


def test_the_body_is_found_without_the_table_and_with_its_lungs() -> None:
    hu = _ellipse().numpy().copy()
    hu[100:150, 60:110] = -850.0  # a lung
    hu[230:234, 40:216] = 100.0  # the table
    anatomy = find_anatomy(hu)
    assert anatomy.body[125, 85]
    assert not anatomy.tissue[125, 85]
    assert anatomy.tissue[125, 150]
    assert not anatomy.body[232, 128]


def test_features_are_those_of_the_ellipse() -> None:
    hu = _ellipse().numpy() + np.random.default_rng(1).normal(0, 12, (256, 256)).astype(np.float32)
    features = measure(hu, find_anatomy(hu), 400.0)
    assert features.body_cm2 == pytest.approx(np.pi * 12 * 16, rel=0.05)
    assert features.tissue_fraction > 0.9
    assert features.noise_hu == pytest.approx(12, rel=0.2)


def test_air_has_no_body() -> None:
    air = np.full((256, 256), -1000, dtype=np.float32)
    features = measure(air, find_anatomy(air), 400.0)
    assert (features.body_cm2, features.tissue_fraction, features.noise_hu) == (0, 0, 0)


_KNOWN = Features(field_of_view_mm=400, body_cm2=600, tissue_fraction=0.6, noise_hu=15)


def _domain() -> Domain:
    others = [
        replace(_KNOWN, body_cm2=500),
        replace(_KNOWN, field_of_view_mm=350),
        replace(_KNOWN, tissue_fraction=0.4),
    ]
    return learn_domain([_KNOWN, *others], [replace(_KNOWN, noise_hu=3)], [replace(_KNOWN, noise_hu=80)])


def test_what_was_seen_in_training_is_in_the_domain() -> None:
    assert _domain().objection(_KNOWN) is None
    assert _domain().objection(replace(_KNOWN, tissue_fraction=1.0)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body_cm2": 0.0}, "no body was found"),
        ({"body_cm2": 240.0}, "the body measures 240 cm², and the model has only seen 450–660 cm²"),
        ({"field_of_view_mm": 150.0}, "the field of view is 150 mm"),
        ({"tissue_fraction": 0.05}, "the soft-tissue share of the body is 5 %"),
        ({"noise_hu": 0.0}, "the noise in soft tissue is 0 HU"),
        ({"noise_hu": 300.0}, "the noise in soft tissue is 300 HU"),
    ],
)
def test_what_was_not_seen_is_told_in_words(change: dict[str, float], words: str) -> None:
    objection = _domain().objection(replace(_KNOWN, **change))
    assert objection is not None
    assert objection.sentence.startswith(words)


def test_the_domain_survives_its_json() -> None:
    assert Domain.from_json(_domain().to_json()) == _domain()


def test_a_recipe_with_a_typo_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(DEFAULT_RECIPE.read_text(encoding="utf-8").replace("seed:", "sed:"), encoding="utf-8")
    with pytest.raises(ValueError, match="Recipe; look at: sed, seed"):
        read_recipe(file)
    assert read_recipe().row.channels == 2


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [("crop:", "corp:", "Phase; look at: corp, crop"), ("variant: n2q", "variant: v-net", "u-ssl, n2q")],
)
def test_a_recipe_that_asks_for_what_nobody_knows_is_refused(
    tmp_path: Path, before: str, after: str, words: str
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(DEFAULT_RECIPE.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_recipe(file)
