"""TFKT as the papers describe it: sizes, the way of an image, Swin-KAT, and what a frozen CNN keeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ctiqa_models.tfkt.config import TfktConfig
from ctiqa_models.tfkt.kat import MlpKan, RbfKan
from ctiqa_models.tfkt.network import Connector, Phase1Network, TfktNetwork, make_cnn, make_swin
from ctiqa_models.tfkt.preprocess import network_input, stretched


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _picture(count: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 1, 512, 512, generator=torch.Generator().manual_seed(seed))


def test_the_large_size_is_that_of_the_papers() -> None:
    with torch.device("meta"):
        config = TfktConfig(size="large")
        assert _parameters(make_cnn(config)) == pytest.approx(118e6, rel=0.01)
        assert _parameters(make_swin(config)) == pytest.approx(87e6, rel=0.01)


@pytest.mark.parametrize(("variant", "millions"), [("v1", 10.1), ("v2", 12.9)])
def test_the_compact_size_fits_the_release(variant: str, millions: float) -> None:
    with torch.device("meta"):
        network = TfktNetwork(TfktConfig(variant=variant))  # type: ignore[arg-type] # parametrised with its literals
    assert _parameters(network) == pytest.approx(millions * 1e6, rel=0.01)


def test_the_papers_connector_is_one_matrix_and_the_compact_one_has_a_bottleneck() -> None:
    assert _parameters(Connector(1280, None)) == 1280 * 4096 + 4096
    assert _parameters(Connector(1280, 128)) < 1_000_000


def test_the_connector_makes_a_map_of_known_contrast() -> None:
    grid = Connector(1280, 128)(100 * torch.randn(3, 1280, generator=torch.Generator().manual_seed(1)))
    assert grid.shape == (3, 1, 64, 64)
    assert grid.std(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1, 1], rel=0.01)


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_a_network_begins_in_the_middle_of_the_scale_and_learns_from_every_part(variant: str) -> None:
    torch.manual_seed(1)
    network = TfktNetwork(TfktConfig(variant=variant))  # type: ignore[arg-type] # its two literals
    scores = network(_picture())
    assert scores.shape == (2,)
    assert scores.tolist() == pytest.approx([2, 2], abs=1)
    nn.functional.mse_loss(scores, torch.tensor([0.0, 4.0])).backward()
    untouched = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert untouched == []


def test_a_score_depends_on_the_picture_through_the_map() -> None:
    """The paper's path is F → C → S; the public V1 code shows S the picture itself."""
    torch.manual_seed(2)
    network = TfktNetwork(TfktConfig()).eval()
    with torch.no_grad():
        for parameter in network.swin.parameters():  # norms begin at 0, which would hide the blocks
            parameter.add_(0.05 * torch.randn_like(parameter))
        first, second = network(_picture())
        same_map = network.swin(network.connector(network.cnn(_picture())))[:, 0]
    assert float((first - second).abs()) > 1e-6
    assert torch.equal(torch.stack((first, second)), same_map)


def test_only_v2_has_a_kan_in_every_block() -> None:
    kans = {
        variant: sum(isinstance(module, MlpKan) for module in make_swin(TfktConfig(variant=variant)).modules())  # type: ignore[arg-type]
        for variant in ("v1", "v2")
    }
    assert kans == {"v1": 0, "v2": 10}


def test_a_kan_edge_is_a_silu_and_a_sum_of_bumps() -> None:
    """FastKAN written out for one token: layer norm, Gaussians on the grid, one weight for each edge and bump."""
    torch.manual_seed(3)
    kan = RbfKan(3).requires_grad_(False)
    x = torch.tensor([0.5, -1.0, 2.0])
    mean, deviation = x.mean(), x.std(unbiased=False)
    expected = []
    for out in range(3):
        total = float(kan.base.bias[out])
        for channel in range(3):
            value = float(x[channel])
            total += float(kan.base.weight[out, channel]) * value / (1 + math.exp(-value))
            normal = (value - float(mean)) / math.sqrt(float(deviation) ** 2 + 1e-5)
            for bump, centre in enumerate((-2, -1, 0, 1, 2)):
                total += float(kan.edges.weight[out, 5 * channel + bump]) * math.exp(-((normal - centre) ** 2))
        expected.append(total)
    assert kan(x).tolist() == pytest.approx(expected, abs=1e-5)


def test_a_kan_learns_a_function_that_no_linear_layer_can() -> None:
    torch.manual_seed(4)
    x = torch.randn(512, 8)
    truth = torch.sin(2 * x) + (x.abs() < 0.5)
    plane = torch.cat((x, torch.ones(512, 1)), dim=1)
    best_plane = nn.functional.mse_loss(plane @ torch.linalg.lstsq(plane, truth).solution, truth)
    kan = RbfKan(8)
    optimiser = torch.optim.Adam(kan.parameters(), lr=0.03)
    for _ in range(200):
        loss = nn.functional.mse_loss(kan(x), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < float(best_plane) / 2


def test_the_branches_attend_to_each_other_both_ways() -> None:
    torch.manual_seed(5)
    joined = MlpKan(nn.Linear(4, 4), 4)
    tokens = torch.randn(1, 6, 4)
    mlp, kan = joined.mlp(tokens)[0], joined.kan(tokens)[0]
    by_mlp = torch.softmax(mlp @ kan.T / 2, dim=-1) @ kan
    by_kan = torch.softmax(kan @ mlp.T / 2, dim=-1) @ mlp
    assert torch.allclose(joined(tokens)[0], by_mlp + by_kan, atol=1e-5)


def test_phase_1_gives_a_mean_opinion_score_and_its_cnn_to_phase_2() -> None:
    torch.manual_seed(6)
    config = TfktConfig()
    phase1, network = Phase1Network(config).eval(), TfktNetwork(config).eval()
    with torch.no_grad():
        assert phase1(_picture()).tolist() == pytest.approx([3, 3], abs=1)
        assert not torch.equal(phase1.cnn(_picture()), network.cnn(_picture()))
        network.take_cnn(phase1)
        assert torch.equal(phase1.cnn(_picture()), network.cnn(_picture()))


def test_a_frozen_cnn_keeps_its_weights_and_its_statistics() -> None:
    torch.manual_seed(7)
    network = TfktNetwork(TfktConfig(freeze_cnn=True)).train()
    before = {name: tensor.clone() for name, tensor in network.cnn.state_dict().items()}
    optimiser = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), lr=1e-3)
    network(_picture()).sum().backward()
    optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.cnn.state_dict().items())
    assert network.connector.training


@pytest.mark.parametrize("odd", [{"variant": "v3"}, {"size": "huge"}, {"drop_path": 1.0}])
def test_a_shape_that_does_not_exist_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"v1 or v2|drop_path"):
        TfktConfig(**odd)  # type: ignore[arg-type] # wrong on purpose


def test_the_range_is_that_of_ldctiqac() -> None:
    """Fat near 0.63, muscle near 0.73, cortical bone white (what the published images show)."""
    hu = torch.tensor([-3024.0, -1024.0, -100.0, 50.0, 450.0, 1500.0]).repeat(512, 86)[:, :512]
    levels = network_input(hu[None])[0, 0, 0, :6]
    assert levels.tolist() == pytest.approx([0, 0, 0.627, 0.729, 1, 1], abs=1e-3)


def test_each_slice_is_stretched_to_its_own_range() -> None:
    grey = torch.tensor([[[0.2, 0.3], [0.4, 0.6]], [[0.5, 0.5], [0.5, 0.5]]])
    assert stretched(grey).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1, 0, 0, 0, 0])


def test_a_slice_of_any_matrix_becomes_512() -> None:
    assert network_input(torch.zeros(3, 96, 100)).shape == (3, 1, 512, 512)
