"""Importing checkpoints of public code: read safely, checked, written as safetensors where the node looks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from torch import nn

from ctiqa_models.checkpoints import read_checkpoint
from ctiqa_models.installed import Installed, Provenance, install
from ctiqa_models.n2q import preprocess as n2q_preprocess
from ctiqa_models.n2q import public as n2q
from ctiqa_models.tfkt import preprocess as tfkt_preprocess
from ctiqa_models.tfkt import public as tfkt
from ctiqa_models.tfkt import release as tfkt_release
from ctiqa_models.weights import WeightsError, sha256_of

_LABEL_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of public checkpoint: the model of the catalog that it serves, and the network that it belongs to."""

    model: str
    architecture: str
    build: Callable[[Mapping[str, torch.Tensor]], nn.Module]
    side: int
    """Rows and columns of the network's input, which has one channel."""


KINDS: dict[str, Kind] = {
    "tfkt-v2": Kind(tfkt_release.IMPORTED, tfkt.ARCHITECTURE, tfkt.build, tfkt_preprocess.SIZE),
    "n2q": Kind(n2q.MODEL, n2q.ARCHITECTURE, n2q.build, n2q_preprocess.SIZE),
}


def import_checkpoint(file: Path, kind: Kind, folder: Path, now: datetime, label: str | None = None) -> Installed:
    """Import a public checkpoint into the folder of installed weights, in place of what was installed there.

    `label` is what results will call the weights (None: "imported-" and the beginning of the file's SHA-256). Nothing
    in the file is run, and nothing is lost: the weights are kept in float32. Raises WeightsError when the file cannot
    be read or is not of this kind, and OSError when it cannot be opened or the result cannot be written.
    """
    digest = sha256_of(file)
    network = kind.build(read_checkpoint(file))
    _try(network, kind.side)
    provenance = Provenance(
        architecture=kind.architecture,
        label=label or f"imported-{digest[:_LABEL_DIGITS]}",
        source_file=file.name,
        source_sha256=digest,
        installed_at=now.isoformat(timespec="seconds"),
        trained_on=f"unknown data; imported by the site from {file.name}",
    )
    return install(folder, kind.model, network.state_dict(), provenance)


@torch.inference_mode()
def _try(network: nn.Module, side: int) -> None:
    """Send one picture through the network: weights may have the right shapes and be of no use."""
    ramp = torch.linspace(0, 1, side * side).reshape(1, 1, side, side)
    try:
        answer = network(ramp)
    except (RuntimeError, IndexError) as error:
        raise WeightsError(f"The weights fit, but the network fails with them ({error}).") from error
    for part in answer if isinstance(answer, tuple) else (answer,):
        if not bool(torch.isfinite(part).all()):
            raise WeightsError("The weights fit, but what the network answers with them is not a finite number.")
