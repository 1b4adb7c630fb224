"""Batches of training pictures: a base, its full-dose reference, and the same at a lower dose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ctiqa_models.n2q.body import find_anatomy, quietest_deviation
from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.n2q.examples import Examples
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.recipe import Recipe
from ctiqa_models.n2q.ssim import ssim_map
from ctiqa_models.voi import ABDOMEN

NO_CLASS = -100
"""The dose class of a picture that has none; torch's cross-entropy leaves it out."""

LARGEST_BLUR = 2.0
"""Standard deviation in pixels of the softest picture shown."""


@dataclass(frozen=True, slots=True)
class Bases:
    """What pictures are made of, in HU: slices as they came and denoised [n, y, x]; noise [n, kernels, 2, y, x]."""

    original: torch.Tensor
    denoised: torch.Tensor
    noise: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures in HU [b, y, x], their SSIM against full dose [b, 1, y, x] in 0–1, and dose classes [b]."""

    hu: torch.Tensor
    quality: torch.Tensor
    dose_class: torch.Tensor


@dataclass(frozen=True, slots=True)
class Pair:
    """A full-dose reference and a worse picture of it, HU [y, x], and the class of its dose."""

    reference: torch.Tensor
    picture: torch.Tensor
    dose_class: int


def make_bases(examples: Examples) -> Bases:
    """Denoise every slice by about as much as its quietest fifth of tissue is noisy."""
    original = torch.from_numpy(examples.hu.astype(np.float32))
    strengths = [quietest_deviation(hu, find_anatomy(hu)) for hu in original.numpy()]
    denoised = total_variation(original, torch.tensor(strengths))
    return Bases(original, denoised, torch.from_numpy(examples.noise))


def at_dose(bases: Bases, index: int, kernel: int, dose: float, denoised: bool) -> Pair:
    """Slice `index` at a fraction `dose` of full dose.

    A denoised base gets the reference scanner's full-dose noise first, and then the rest, independent of it: only then
    is the dose what the picture's noise says. A base as it came has noise of an unknown dose, so it has no class.
    """
    own, added = bases.noise[index, kernel].float()
    reference = bases.denoised[index] + own if denoised else bases.original[index]
    picture = reference + math.sqrt(1 / dose - 1) * added
    known = denoised and dose in DOSE_CLASSES
    return Pair(reference, picture, DOSE_CLASSES.index(dose) if known else NO_CLASS)


def blurred(bases: Bases, index: int, sigma: float) -> Pair:
    """The denoised slice `index`, and the same blurred by a Gaussian of `sigma` pixels."""
    reference = bases.denoised[index]
    soft = ndimage.gaussian_filter(reference.numpy(), sigma) if sigma > 0 else reference.numpy()
    return Pair(reference, torch.from_numpy(soft), NO_CLASS)


def draw(bases: Bases, index: int, recipe: Recipe, generator: torch.Generator) -> Pair:
    """One random picture of slice `index`, as the recipe's shares have it."""
    lot, denoised, amount, flip = torch.rand(4, generator=generator).tolist()
    if lot < recipe.blurred_share:
        pair = blurred(bases, index, amount * LARGEST_BLUR)
    else:
        full = lot < recipe.blurred_share + recipe.full_dose_share
        dose = 1.0 if full else DOSE_CLASSES[int(amount * len(DOSE_CLASSES))]
        kernel = int(torch.randint(bases.noise.shape[1], (1,), generator=generator))
        pair = at_dose(bases, index, kernel, dose, denoised < recipe.denoised_share)
    axes = [axis for axis, chosen in ((0, int(flip * 4) & 1), (1, int(flip * 4) & 2)) if chosen]
    return Pair(pair.reference.flip(axes), pair.picture.flip(axes), pair.dose_class)


def collate(pairs: list[Pair]) -> Batch:
    """Pairs as one batch, with the SSIM maps that the network is to predict (negative SSIM counts as 0)."""
    reference = torch.stack([pair.reference for pair in pairs])
    picture = torch.stack([pair.picture for pair in pairs])
    similarity = ssim_map(ABDOMEN.apply(picture)[:, None], ABDOMEN.apply(reference)[:, None])
    return Batch(picture, similarity.clamp(0, 1), torch.tensor([pair.dose_class for pair in pairs]))


def loss_of(painted: torch.Tensor, logits: torch.Tensor, batch: Batch, dose_weight: float) -> torch.Tensor:
    """The poster's loss: mean squared error of the map in [−1, 1], plus α · cross-entropy of the dose class."""
    map_loss = functional.mse_loss(painted, batch.quality * 2 - 1)
    with_class = int((batch.dose_class != NO_CLASS).sum())
    dose_loss = functional.cross_entropy(logits, batch.dose_class, ignore_index=NO_CLASS, reduction="sum")
    return map_loss + dose_weight * dose_loss / max(with_class, 1)
