"""Checkpoints of the public N2Q notebook, fitted to our N2Q network.

The notebook's network has one input channel, instance normalisation without parameters, an upsampling that aligns
corners, and a tanh at the end. Its dose branch may be missing: in which order its five outputs stand is not published,
and so the branch is loaded where it is there, but no dose class is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ctiqa_models import weights
from ctiqa_models.api import ModelIdentity
from ctiqa_models.checkpoints import build_with
from ctiqa_models.installed import require
from ctiqa_models.looks import Gates
from ctiqa_models.n2q.assess import Equipment, MapAssessor
from ctiqa_models.n2q.network import DOSE_CLASSES, N2qNetwork
from ctiqa_models.plausible import PlainGate

MODEL = "n2q_imported"
ARCHITECTURE = "n2q-public"
NONE_INSTALLED = (
    "no weights of the public N2Q notebook are installed; import a checkpoint with `ctiqa-node model import`, or use "
    "n2q, which has weights of its own"
)
_SUMMARY = (
    "Mean over soft tissue of the structural similarity to a full-dose slice that a U-Net predicts from the slice "
    "alone, with a checkpoint of the public N2Q notebook (Noise2Quality, one channel, instance normalisation)."
)

_DEPTH = 5
_WIDEST = 256


def load_n2q(folder: Path | None, device: str, batch: int | None = None) -> MapAssessor:
    """The assessor with the weights that are installed in `folder`; WeightsError when there are none that fit."""
    installed, file = require(folder, MODEL, NONE_INSTALLED)
    network = build_with(_public_shape, weights.load(file).tensors, "the public N2Q notebook, as imported")
    identity = ModelIdentity(
        name=MODEL,
        version=installed.provenance.label,
        summary=_SUMMARY,
        trained_on=installed.provenance.trained_on,
        weights_sha256=installed.sha256,
    )
    equipment = Equipment(network, 1, Gates(PlainGate()), identity, "cannot be judged", has_dose_classes=False)
    return MapAssessor(equipment, device, batch)


def build(tensors: Mapping[str, torch.Tensor]) -> N2qNetwork:
    """The network with these weights, in evaluation mode; WeightsError when they are not those of this architecture."""
    known = dict(tensors)
    if not any(name.startswith("fc.") for name in known):
        known["fc.weight"] = torch.zeros(len(DOSE_CLASSES), _WIDEST)
        known["fc.bias"] = torch.zeros(len(DOSE_CLASSES))
    return build_with(_public_shape, known, "the public N2Q notebook", _their_name)


def _public_shape() -> N2qNetwork:
    return N2qNetwork(channels=1, norm="instance", align_corners=True)


def _their_name(name: str) -> str:
    """The notebook's name for a parameter of ours: it numbers both ways of the U from the top."""
    part, _, rest = name.partition(".")
    if part in _HEADS:
        return f"{_HEADS[part]}.{rest}"
    index, _, rest = rest.partition(".")
    level = int(index) + 1 if part == "encoder" else _DEPTH - 1 - int(index)
    return f"{_WAYS[part]}{level}.{rest}"


_HEADS = {"paint": "conv_last", "dose": "fc"}
_WAYS = {"encoder": "dconv_down", "decoder": "dconv_up"}
