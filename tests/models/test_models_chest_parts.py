"""The parts of Chest CT-IQA: kernel labels, the network's input, its variants and losses, the virtual scanner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_models.chest_ctiqa.build import Build, build_of
from ctiqa_models.chest_ctiqa.domain import Domain, learn_domain, view_of
from ctiqa_models.chest_ctiqa.labels import Window, window_of_kernel
from ctiqa_models.chest_ctiqa.network import ALL_TASKS, Branch, ChestNetwork, Task, loss_of
from ctiqa_models.chest_ctiqa.preprocess import (
    Shape,
    evenly_spaced,
    expected_noise,
    network_input,
    slice_channels,
    slice_maps,
    spread,
)
from ctiqa_models.chest_ctiqa.recipe import DEFAULT_RECIPE, PAPER_RECIPE, read_recipe
from ctiqa_models.chest_ctiqa.scanner import KERNELS, Exposure, noise_of, reconstruct, sharpen, take
from ctiqa_models.simulation.dose import noise_image
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.projector import SHARP, SMOOTH, STANDARD

_TINY = Shape(slices=2, size=32)
_WIDTHS, _HIDDEN = (2, 3, 4, 5, 6), (8, 7)


@pytest.mark.parametrize(
    "kernel", ["LUNG", "lung ", "BONE", "B50s", "b60f", "59 .21.B50s", "Bl57d\\3", "I70f", "FC51", "L"]
)
def test_sharp_kernels_are_for_lung(kernel: str) -> None:
    assert window_of_kernel(kernel) is Window.LUNG


@pytest.mark.parametrize(
    "kernel", ["STANDARD", "Soft", "B10f", "B20s", "B31f", "B30s", "Br40d", "I30f\\2", "FC17", "B", "D40s"]
)
def test_smooth_kernels_are_for_soft_tissue(kernel: str) -> None:
    assert window_of_kernel(kernel) is Window.SOFT_TISSUE


@pytest.mark.parametrize("kernel", ["", "D", "59 .10.AB50", "B45f", "B46s", "FC21", "DETAIL", "H30s", "UB", "LUNGE"])
def test_other_kernels_tell_nothing(kernel: str) -> None:
    assert window_of_kernel(kernel) is None


@given(count=st.integers(1, 5000), wanted=st.integers(1, 32))
def test_the_slices_looked_at_rise_and_never_leave_the_series(count: int, wanted: int) -> None:
    chosen = evenly_spaced(count, wanted)
    assert len(chosen) == min(count, wanted)
    assert chosen == sorted(set(chosen))
    assert chosen[0] >= 0
    assert chosen[-1] < count


@given(wanted=st.integers(1, 32), data=st.data())
def test_every_slice_of_a_short_series_is_shown(wanted: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, wanted))
    shown = spread(count, wanted)
    assert len(shown) == wanted
    assert set(shown) == set(range(count))


@pytest.mark.parametrize("size", [64, 100, 512])
def test_any_matrix_becomes_the_networks_input(size: int) -> None:
    shape = Shape(slices=4, size=32)
    maps = slice_maps(slice_channels(torch.full((3, size, size), -3000.0), 0.7, shape), 0.7, shape)
    image = network_input(maps, shape.slices)
    assert image.shape == (7, 4, 32, 32)
    assert image.isfinite().all()
    assert torch.allclose(image[0], torch.tensor(-1.0))  # padding is shown as air


def test_noise_is_seen_before_the_slice_shrinks_and_its_sharpness_too() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 256, 256, generator=generator)
    quiet, loud = (slice_channels(level * noise, 0.7, _TINY).mean(dim=(1, 2, 3)).tolist() for level in (20.0, 40.0))
    assert loud[0] == pytest.approx(quiet[0], abs=0.01)  # the small picture shows hardly any of it
    assert loud[1] - quiet[1] == pytest.approx(0.68, abs=0.05)  # log 2, less the 1 HU
    coarse = slice_channels(sharpen(40.0 * noise, 0.0), 0.7, _TINY).mean(dim=(1, 2, 3)).tolist()
    sharper = slice_channels(sharpen(40.0 * noise, 4.0), 0.7, _TINY).mean(dim=(1, 2, 3)).tolist()
    assert sharper[1] - sharper[2] > coarse[1] - coarse[2] + 0.3


def test_the_expected_noise_is_that_of_the_simulation_but_for_a_constant() -> None:
    size, pixel_mm = 128, 3.0
    axis = torch.arange(size) - (size - 1) / 2
    body = torch.where(torch.hypot(axis[:, None] / 1.4, axis[None]) < 38, 0.0, -1000.0)[None]
    made = noise_image(body.expand(24, -1, -1), pixel_mm, 0.2, torch.Generator().manual_seed(0))
    expected = expected_noise(body, size * pixel_mm)[0].exp()
    places = [(64, 64), (64, 90), (100, 64), (28, 64)]
    ratios = [float(made[:, y - 4 : y + 4, x - 4 : x + 4].std() / expected[y, x]) for y, x in places]
    assert max(ratios) < 1.15 * min(ratios)


@pytest.mark.parametrize("branch", ["shared", "per_kind", "separate"])
def test_branches_part_where_table_2_has_them(branch: Branch) -> None:
    network = ChestNetwork(_TINY, _WIDTHS, _HIDDEN, branch)
    told = network(torch.randn(3, 7, 2, 32, 32))
    assert {task: tuple(out.shape) for task, out in told.items()} == {
        Task.WINDOW: (3, 2),
        Task.EXPOSURE: (3, 2),
        Task.SNR: (3,),
        Task.BRISQUE: (3,),
    }
    assert len(network.trunks) == {"shared": 1, "per_kind": 2, "separate": 4}[branch]


@pytest.mark.parametrize("tasks", [(Task.SNR,), (Task.WINDOW, Task.EXPOSURE), (Task.SNR, Task.BRISQUE)])
def test_tasks_stand_alone_or_in_pairs_as_in_table_3(tasks: tuple[Task, ...]) -> None:
    network = ChestNetwork(_TINY, _WIDTHS, _HIDDEN, tasks=tasks)
    assert set(network(torch.randn(2, 7, 2, 32, 32))) == set(tasks)


def test_numbers_leave_the_network_in_their_own_units() -> None:
    network = ChestNetwork(_TINY, _WIDTHS, _HIDDEN).eval()
    image = torch.randn(2, 7, 2, 32, 32)
    before = network(image)[Task.SNR].tolist()
    network.set_scale(Task.SNR, 20.0, 3.0)
    assert network(image)[Task.SNR].tolist() == pytest.approx([20 + 3 * value for value in before], rel=1e-5)


def test_the_loss_is_equation_3_over_what_is_known() -> None:
    told = {
        Task.WINDOW: torch.zeros(2, 2),
        Task.EXPOSURE: torch.zeros(2, 2),
        Task.SNR: torch.tensor([10.0, 99.0]),
        Task.BRISQUE: torch.tensor([30.0, 40.0]),
    }
    truth = {
        Task.WINDOW: torch.tensor([0, 1]),
        Task.EXPOSURE: torch.tensor([1, -100]),
        Task.SNR: torch.tensor([12.0, float("nan")]),
        Task.BRISQUE: torch.tensor([30.0, 46.0]),
    }
    weights = dict(zip(ALL_TASKS, (50.0, 50.0, 5.0, 1.0), strict=True))
    log2 = 0.693147
    assert float(loss_of(told, truth, weights)) == pytest.approx(100 * log2 + 5 * 4 + 18, rel=1e-4)
    scales = {Task.SNR: torch.tensor(2.0), Task.BRISQUE: torch.tensor(3.0)}
    assert float(loss_of(told, truth, weights, scales)) == pytest.approx(100 * log2 + 5 + 2, rel=1e-4)


def test_a_batch_without_any_known_truth_costs_nothing_and_still_has_a_gradient() -> None:
    network = ChestNetwork(_TINY, _WIDTHS, _HIDDEN, tasks=(Task.EXPOSURE,))
    loss = loss_of(
        network(torch.randn(2, 7, 2, 32, 32)), {Task.EXPOSURE: torch.full((2,), -100)}, {Task.EXPOSURE: 50.0}
    )
    loss.backward()  # type: ignore[no-untyped-call] # torch publishes no type for it
    assert float(loss.detach()) == 0


def test_recipes_read_and_the_papers_is_expressed() -> None:
    assert read_recipe(DEFAULT_RECIPE).detail
    paper = read_recipe(PAPER_RECIPE)
    assert (paper.learning_rate, paper.schedule, paper.step_gamma, paper.epochs, paper.batch) == (
        1e-4,
        "step",
        0.75,
        50,
        1,
    )
    assert paper.weights == {Task.WINDOW: 50, Task.EXPOSURE: 50, Task.SNR: 5, Task.BRISQUE: 1}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("branch", "none", "none of"), ("tasks", ["mos"], "mos"), ("loss_weights", [1], "one weight")],
)
def test_a_recipe_that_nobody_can_follow_is_refused(tmp_path: Path, key: str, value: object, said: str) -> None:
    content = yaml.safe_load(DEFAULT_RECIPE.read_text())
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**content, key: value}))
    with pytest.raises(ValueError, match=said):
        read_recipe(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**content, "extra": 1}))
    with pytest.raises(ValueError, match="extra"):
        read_recipe(tmp_path / "r.yaml")


def test_the_short_cuts_of_the_scanner_keep_the_noise_of_the_full_simulation() -> None:
    hu, pixel_mm = torch.from_numpy(anatomy(1, 4, 128)[-2:]), 400 / 128
    projected = take(hu, pixel_mm)
    noise = noise_of(projected, Exposure.MAS_30, torch.Generator().manual_seed(1))
    middle = (slice(None), slice(44, 84), slice(44, 84))
    for kernel in (SMOOTH, STANDARD, SHARP):
        fast = reconstruct(projected, noise, kernel, drawn=False) - reconstruct(
            projected, 0 * noise, kernel, drawn=False
        )
        exact = noise_image(hu, pixel_mm, 30 / 200, torch.Generator().manual_seed(2), kernel)
        assert float(fast[middle].std()) == pytest.approx(float(exact[middle].std()), rel=0.12)


def test_more_exposure_is_less_noise_by_the_root() -> None:
    projected = take(torch.from_numpy(anatomy(2, 4, 128)[-2:]), 400 / 128)
    levels = [float(noise_of(projected, one, torch.Generator().manual_seed(3)).std()) for one in Exposure]
    assert levels[0] / levels[1] == pytest.approx((50 / 30) ** 0.5, rel=0.05)


def test_lungs_are_found_in_the_chest_and_not_below_it() -> None:
    builds = build_of(torch.from_numpy(anatomy(4, 9, 128)), 400 / 128)
    assert builds[0].lung_share < 0.02
    assert builds[6].lung_share > 0.2
    assert all(300 < build.body_cm2 < 1100 for build in builds)


def test_the_domain_tells_why_and_survives_its_file() -> None:
    chest = view_of([Build(600, 0.3), Build(650, 0.2)], 380, 0.74)
    domain = Domain.from_json(learn_domain([chest]).to_json())
    assert domain.objection(chest) is None
    assert "lungs were found in 0 %" in str(domain.objection(view_of([Build(600, 0.01)], 380, 0.74)))
    strange = view_of([Build(600, 0.3, "it is a photograph"), Build(600, 0.3, "it is a photograph")], 380, 0.74)
    assert "photograph" in str(domain.objection(strange))
    assert domain.objection(view_of([Build(600, 0.3), Build(600, 0.3, "odd")], 380, 0.74)) is None
    assert "no body" in str(domain.objection(view_of([Build(0, 0.0)], 380, 0.74)))
    assert "field of view is 900 mm" in str(domain.objection(view_of([Build(600, 0.3)], 900, 0.74)))


def test_the_level_of_noise_tells_the_exposure_whatever_the_kernel() -> None:
    shape, pixel_mm = Shape(), 380.0 / 512
    levels: dict[Exposure, list[float]] = {one: [] for one in Exposure}
    projected = take(torch.from_numpy(anatomy(5, 4, 512, 380.0)[-2:-1]), pixel_mm)
    for exposure in Exposure:
        noise = noise_of(projected, exposure, torch.Generator().manual_seed(int(exposure)))
        for kernel in (*KERNELS[Window.SOFT_TISSUE], *KERNELS[Window.LUNG]):
            series = reconstruct(projected, noise, kernel, drawn=True)
            maps = slice_maps(slice_channels(series, pixel_mm, shape), pixel_mm, shape)
            levels[exposure].append(float(maps[5].mean()))
    # Four times the logarithm of √(50 / 30) lies between them.
    differences = np.asarray(levels[Exposure.MAS_30]) - np.asarray(levels[Exposure.MAS_50])
    assert differences.mean() == pytest.approx(1.02, abs=0.15)
    assert np.std(levels[Exposure.MAS_30]) < 0.6
