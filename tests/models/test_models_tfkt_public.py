"""Checkpoints of the public TFKT V2 code give the scores that its forward path gives."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ctiqa_models import catalog
from ctiqa_models.api import HuVolume, Status
from ctiqa_models.importing import KINDS, import_checkpoint
from ctiqa_models.tfkt.config import TfktConfig
from ctiqa_models.tfkt.network import make_swin
from ctiqa_models.tfkt.preprocess import network_input
from ctiqa_models.tfkt.public import PublicTfkt, build
from ctiqa_models.weights import WeightsError
from support.public_checkpoints import Weights, tfkt_backbones, tfkt_checkpoint, tfkt_forward

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
Backbones = tuple[nn.Module, nn.Module]


@pytest.fixture(scope="module")
def backbones() -> Backbones:
    return tfkt_backbones()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(1, 1, 512, 512, generator=generator)
    return torch.cat((noise, torch.linspace(0, 1, 512).expand(1, 1, 512, 512)))


@pytest.fixture(scope="module")
def truth(backbones: Backbones, pictures: torch.Tensor) -> torch.Tensor:
    return tfkt_forward(*backbones, pictures)


@torch.inference_mode()
def _scores(checkpoint: Weights, pictures: torch.Tensor) -> torch.Tensor:
    return build(checkpoint)(pictures)


def test_the_same_weights_give_the_same_score_as_the_path_that_is_described(
    backbones: Backbones, pictures: torch.Tensor, truth: torch.Tensor
) -> None:
    found = _scores(tfkt_checkpoint(*backbones), pictures)
    assert torch.allclose(found, truth, atol=1e-4)
    assert float((truth[0] - truth[1]).abs()) > 1e-2, "the pictures must differ for the comparison to mean anything"


def test_the_public_network_has_the_sizes_that_are_told(backbones: Backbones) -> None:
    with torch.device("meta"):
        network = PublicTfkt()
    assert sum(p.numel() for p in network.swinv2b.parameters()) == pytest.approx(86.9e6, rel=0.001)
    assert set(network.state_dict()) == set(tfkt_checkpoint(*backbones))


def test_timm_shrinks_windows_where_torchvision_pads_the_map() -> None:
    """Why the imported network is built of torchvision's modules."""
    with torch.device("meta"):
        ours, theirs = make_swin(TfktConfig(size="large")), PublicTfkt().swinv2b
    windows = [
        [tuple(module.window_size) for module in swin.modules() if type(module).__name__ in blocks]
        for swin, blocks in ((ours, {"SwinTransformerV2Block"}), (theirs, {"ShiftedWindowAttentionV2"}))
    ]
    assert windows[0] == [(8, 8)] * 4 + [(4, 4)] * 18 + [(2, 2)] * 2
    assert windows[1] == [(8, 8)] * 24


def test_a_checkpoint_that_lacks_something_is_refused_with_its_first_names(backbones: Backbones) -> None:
    checkpoint = tfkt_checkpoint(*backbones)
    for name in [name for name in checkpoint if name.startswith("swinv2b.features.1.")]:
        del checkpoint[name]
    checkpoint["swinv2b.kan.0.weight"] = torch.zeros(2)
    checkpoint["swinv2b.head.weight"] = torch.zeros(1000, 1024)
    with pytest.raises(WeightsError) as refused:
        build(checkpoint)
    sentence = str(refused.value)
    assert "not weights of the public TFKT V2 code; missing: swinv2b.features.1.0.norm1.weight, " in sentence
    assert "more; unexpected: swinv2b.kan.0.weight; " in sentence
    assert "of another shape: swinv2b.head.weight [1000, 1024], not [1, 1024]." in sentence


def test_weights_that_are_not_finite_are_refused(backbones: Backbones) -> None:
    checkpoint = tfkt_checkpoint(*backbones)
    checkpoint["swinv2b.head.bias"] = torch.tensor([float("nan")])
    with pytest.raises(WeightsError, match=r"not finite: swinv2b\.head\.bias"):
        build(checkpoint)


@pytest.mark.slow
def test_an_imported_checkpoint_scores_a_series_as_the_path_that_is_described(
    backbones: Backbones, tmp_path: Path
) -> None:
    cnn, swin = backbones
    file = tmp_path / "best.pth"
    torch.save({"epoch": 7, "model_state_dict": tfkt_checkpoint(cnn, swin, "module.")}, file)
    installed = import_checkpoint(file, KINDS["tfkt-v2"], tmp_path / "models", NOW, "site-7")
    file.unlink()
    tfkt = catalog.assessors("cpu", ["tfkt_imported"], tmp_path / "models")[0]
    assert tfkt.identity.version == "site-7"
    assert tfkt.identity.weights_sha256 == installed.sha256
    assert tfkt.identity.trained_on == "unknown data; imported by the site from best.pth"
    y, x = np.mgrid[:128, :128] - 63.5
    body = np.where(np.hypot(x, y) < 50, 40.0, -1000.0).astype(np.float32)
    hu = np.stack([body, body + np.random.default_rng(1).normal(0, 60, body.shape).astype(np.float32)])
    assessment = tfkt.assess(HuVolume(hu, (5.0, 3.0, 3.0)), lambda share: None)
    assert assessment.status is Status.SCORED, assessment.reason
    expected = tfkt_forward(cnn, swin, network_input(torch.from_numpy(hu))).clamp(0, 4)
    found = [m.value for m in assessment.measurements if m.slice_index is not None]
    assert found == pytest.approx(expected.tolist(), abs=1e-4)
