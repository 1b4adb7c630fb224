"""From installed weights to a TFKT assessor, and from a network that was trained here to installed weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from torch import nn

from ctiqa_models import weights
from ctiqa_models.api import ModelIdentity
from ctiqa_models.checkpoints import load_into
from ctiqa_models.installed import Installed, Provenance, install, require
from ctiqa_models.tfkt import public
from ctiqa_models.tfkt.assess import Tfkt
from ctiqa_models.tfkt.config import TfktConfig
from ctiqa_models.tfkt.network import TfktNetwork

MODEL = "tfkt"
OWN_ARCHITECTURE = "tfkt"
NONE_INSTALLED = (
    "no weights for TFKT have been published, and none are installed; import a checkpoint of the public code with "
    "`ctiqa-node model import`, or train some"
)
_SUMMARY = (
    "Quality score of slices, 0 bad to 4 excellent, on the scale of LDCTIQAC 2023, by a CNN and a transformer on its "
    "features (Task-Focused Knowledge Transfer, TFKT)."
)


def load_tfkt(folder: Path | None, device: str) -> Tfkt:
    """The assessor with the weights that are installed in `folder`; WeightsError when there are none that fit."""
    installed, file = require(folder, MODEL, NONE_INSTALLED)
    identity = ModelIdentity(
        name=MODEL,
        version=installed.provenance.label,
        summary=_SUMMARY,
        trained_on=installed.provenance.trained_on,
        weights_sha256=installed.sha256,
    )
    return Tfkt(_network(installed, weights.load(file)), identity, device)


def install_trained(folder: Path, network: TfktNetwork, provenance: Provenance) -> Installed:
    """Install a network that was trained here; raises OSError."""
    config = json.dumps(asdict(network.config))
    return install(folder, MODEL, network.state_dict(), provenance, {"config": config})


def _network(installed: Installed, loaded: weights.Weights) -> nn.Module:
    architecture = installed.provenance.architecture
    if architecture == public.ARCHITECTURE:
        return public.build(loaded.tensors)
    if architecture != OWN_ARCHITECTURE:
        raise weights.WeightsError(
            f"The installed TFKT weights are of an architecture {architecture!r}, not known here."
        )
    try:
        config = TfktConfig(**json.loads(loaded.metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise weights.WeightsError(
            f"The installed TFKT weights do not say what network they are of ({error})."
        ) from error
    return load_into(TfktNetwork(config), loaded.tensors, f"TFKT, {config.variant}, {config.size}")
