"""Batches of training pictures: a base, its full-dose reference, and the same at a lower dose."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ctiqa_models.n2q.examples import Example
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.preprocess import network_input
from ctiqa_models.n2q.recipe import Recipe
from ctiqa_models.n2q.ssim import ssim_map
from ctiqa_models.n2q.variants import contrastive_loss
from ctiqa_models.voi import ABDOMEN

NO_CLASS = -100
"""The dose class of a picture that has none; torch's cross-entropy leaves it out."""

LARGEST_BLUR = 2.0
"""Standard deviation in pixels of the softest picture shown."""

STANDARD_KERNEL, OTHER_KERNEL = 0, 1
"""Where `Example.noise` keeps the reference scanner's own kernel, and where the one drawn at random."""


@dataclass(frozen=True, slots=True)
class Bases:
    """What pictures are made of, in HU: slices as they came and denoised [n, y, x]; noise [n, 2, 3, y, x].

    `patients` and `fov_mm` run with n; `real` [n] tells slices from phantoms.
    """

    original: torch.Tensor
    denoised: torch.Tensor
    noise: torch.Tensor
    fov_mm: tuple[float, ...]
    patients: tuple[str, ...]
    real: torch.Tensor

    def __len__(self) -> int:
        return len(self.patients)


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


def make_bases(examples: Iterable[Example]) -> Bases:
    """Gather examples; they stay in float16, since a training holds a gigabyte of them."""
    kept = list(examples)

    def stack(name: str) -> torch.Tensor:
        return torch.stack([torch.from_numpy(getattr(one, name)) for one in kept])

    return Bases(
        original=stack("hu"),
        denoised=stack("clean"),
        noise=stack("noise"),
        fov_mm=tuple(one.fov_mm for one in kept),
        patients=tuple(one.patient for one in kept),
        real=torch.tensor([not one.is_phantom for one in kept]),
    )


def at_dose(
    bases: Bases,
    index: int,
    kernel: int,
    dose: float,
    denoised: bool,
    mixing: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Pair:
    """Slice `index` at a fraction `dose` of full dose.

    A denoised base gets the reference scanner's full-dose noise first, and then the rest, independent of it: only then
    is the dose what the picture's noise says. It has a class when the kernel is the scanner's own. A base as it came
    has noise of an unknown dose, so it has no class. `mixing` makes new noise (see `new_mixing`).
    """
    first, second = mixing or (torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    realisations = bases.noise[index, kernel].float()
    own, added = torch.tensordot(first, realisations, dims=1), torch.tensordot(second, realisations, dims=1)
    reference = bases.denoised[index].float() + own if denoised else bases.original[index].float()
    picture = reference + math.sqrt(1 / dose - 1) * added
    known = denoised and kernel == STANDARD_KERNEL and dose in DOSE_CLASSES
    return Pair(reference, picture, DOSE_CLASSES.index(dose) if known else NO_CLASS)


def new_mixing(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Two orthogonal unit vectors [3]: the weights of two new realisations of noise made of three.

    Sums of independent noise with weights whose squares add up to 1 are as loud as each; orthogonal weights make them
    uncorrelated. So three realisations give as many as are wanted.
    """
    square = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    signs = torch.randint(0, 2, (2, 1), generator=generator) * 2.0 - 1.0
    first, second = square[:, :2].T * signs
    return first, second


def blurred(bases: Bases, index: int, sigma: float) -> Pair:
    """The denoised slice `index`, and the same blurred by a Gaussian of `sigma` pixels."""
    reference = bases.denoised[index].float()
    soft = ndimage.gaussian_filter(reference.numpy(), sigma) if sigma > 0 else reference.numpy()
    return Pair(reference, torch.from_numpy(soft), NO_CLASS)


def draw(bases: Bases, index: int, recipe: Recipe, generator: torch.Generator) -> Pair:
    """One random picture of slice `index`, as the recipe's shares have it."""
    lot, base, kernel, amount, flip = torch.rand(5, generator=generator).tolist()
    if lot < recipe.blurred_share:
        pair = blurred(bases, index, amount * LARGEST_BLUR)
    else:
        full = lot < recipe.blurred_share + recipe.full_dose_share
        dose = 1.0 if full else DOSE_CLASSES[int(amount * len(DOSE_CLASSES))]
        # A phantom has no noise of its own, so that as it came it would be a reference that no scanner makes.
        denoised = base < recipe.denoised_share or not bool(bases.real[index])
        chosen = STANDARD_KERNEL if kernel < recipe.standard_share else OTHER_KERNEL
        pair = at_dose(bases, index, chosen, dose, denoised, new_mixing(generator))
    axes = [axis for axis, chosen in ((0, int(flip * 4) & 1), (1, int(flip * 4) & 2)) if chosen]
    return Pair(pair.reference.flip(axes), pair.picture.flip(axes), pair.dose_class)


def collate(pairs: list[Pair]) -> Batch:
    """Pairs as one batch, with the SSIM maps that the network is to predict (negative SSIM counts as 0)."""
    reference = torch.stack([pair.reference for pair in pairs])
    picture = torch.stack([pair.picture for pair in pairs])
    similarity = ssim_map(ABDOMEN.apply(picture)[:, None], ABDOMEN.apply(reference)[:, None])
    return Batch(picture, similarity.clamp(0, 1), torch.tensor([pair.dose_class for pair in pairs]))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step sees: input [b, channels, y, x], the map to paint [b, 1, y, x] in [−1, 1], dose classes [b]."""

    image: torch.Tensor
    target: torch.Tensor
    dose_class: torch.Tensor

    def to(self, device: torch.device) -> Lesson:
        """The same on another device."""
        return Lesson(self.image.to(device), self.target.to(device), self.dose_class.to(device))


def make_lesson(batch: Batch, channels: int, crop: int, generator: torch.Generator) -> Lesson:
    """A batch as the network takes it, cut down to a square of `crop` pixels in the middle of each picture's body.

    Maps and high-pass residues are made of the whole picture, so that a crop has no edges of its own.
    """
    image, target = network_input(batch.hu, channels), batch.quality * 2 - 1
    if crop < image.shape[-1]:
        corners = [_corner(hu, crop, generator) for hu in batch.hu]
        image, target = (
            torch.stack([one[:, y : y + crop, x : x + crop] for one, (y, x) in zip(stack, corners, strict=True)])
            for stack in (image, target)
        )
    return Lesson(image.contiguous(memory_format=torch.channels_last), target, batch.dose_class)


def _corner(hu: torch.Tensor, crop: int, generator: torch.Generator) -> tuple[int, int]:
    """Upper left corner of a crop around a random pixel of soft tissue; anywhere when there is none."""
    inside = ((hu > ABDOMEN.low) & (hu < ABDOMEN.high)).flatten().nonzero()
    places = len(inside) or hu.numel()
    place = int(torch.randint(places, (1,), generator=generator))
    y, x = divmod(int(inside[place]) if len(inside) else place, hu.shape[1])
    half = crop // 2
    return int(np.clip(y - half, 0, hu.shape[0] - crop)), int(np.clip(x - half, 0, hu.shape[1] - crop))


def loss_of(seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor], lesson: Lesson, recipe: Recipe) -> torch.Tensor:
    """The poster's loss: mean squared error of the map in [−1, 1], plus α · cross-entropy of the dose class.

    `seen` is what the network's `look` gave. Variants without a dose branch have the map's loss alone, or with it the
    contrastive one.
    """
    painted, logits, features = (one.float() for one in seen)
    loss = functional.mse_loss(painted, lesson.target)
    with_class = int((lesson.dose_class != NO_CLASS).sum())
    if recipe.row.learns_dose and with_class:
        loss = loss + recipe.dose_weight * functional.cross_entropy(logits, lesson.dose_class, ignore_index=NO_CLASS)
    if recipe.row.contrastive:
        loss = loss + recipe.contrast_weight * contrastive_loss(features, lesson.dose_class)
    return loss
