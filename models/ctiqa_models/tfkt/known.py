"""What the training slices were like: ranges of plain numbers, and the features that F makes of the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ctiqa_models.data.slices import read_slice
from ctiqa_models.data.split import is_held_out
from ctiqa_models.n2q.body import Features, find_anatomy, measure
from ctiqa_models.n2q.domain import Domain, learn_domain
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.tfkt.examples import Example, picture_hu
from ctiqa_models.tfkt.fit import some
from ctiqa_models.tfkt.network import TfktNetwork
from ctiqa_models.tfkt.pictures import Picture

_MOST = 600
_MOST_TO_MEASURE = 200
_LOW_DOSE = 0.06
_SMOOTHED = ("gaussian", "total variation")


def learn_ranges(files: Sequence[Path], folder: Path, pictures: Sequence[Picture]) -> Domain:
    """The ranges of the training slices; their noise, from that of smoothed pictures to that of the lowest doses."""
    slices = [one for one in map(read_slice, files) if not is_held_out(one.patient)]
    own = [_measured(torch.from_numpy(one.hu.astype(np.float32)), one.spacing_mm * one.hu.shape[0]) for one in slices]
    trained = [picture for picture in pictures if not is_held_out(picture.patient)]
    clean = [picture for picture in trained if picture.dose is None and picture.kind in _SMOOTHED]
    noisy = [picture for picture in trained if picture.kind == "dose and views" and (picture.dose or 1.0) < _LOW_DOSE]
    # Only the noise of these is looked at, which does not depend on the field of view.
    of_clean, of_noisy = (
        [_measured(picture_hu(folder / one.file, one.index), 400.0) for one in some(kind, _MOST_TO_MEASURE)]
        for kind in (clean, noisy)
    )
    return learn_domain(own, of_clean or own, of_noisy or own)


@torch.inference_mode()
def features_of(network: TfktNetwork, examples: Sequence[Example]) -> tuple[torch.Tensor, list[str]]:
    """F's pooled features [n, d] of up to 600 whole examples, and whose they are."""
    chosen = some(examples, _MOST)
    network.eval()
    device = next(network.parameters()).device
    rows = [network.features(example.load()[None, None].to(device)).float().cpu() for example in chosen]
    return torch.cat(rows), [example.group for example in chosen]


def _measured(hu: torch.Tensor, field_of_view_mm: float) -> Features:
    small = to_matrix(hu[None])[0].numpy()
    return measure(small, find_anatomy(small), field_of_view_mm)
