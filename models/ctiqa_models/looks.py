"""What every model asks of a slice before it looks closer: where the body is, and whether it is an adult's trunk.

It is found out once for all models, on all cores, and kept with the volume in some eight kilobytes a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ctiqa_models.api import ByteArray, FloatArray, HuVolume
from ctiqa_models.n2q.body import BoolArray, Features, find_anatomy, measure
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.plausible import Gate
from ctiqa_models.trunk.gate import TrunkGate


@dataclass(frozen=True, slots=True)
class Look:
    """One slice at 256×256: its features, its soft tissue (a bit for each pixel), and what a trunk gate objects."""

    features: Features
    bits: ByteArray
    trunk: TrunkGate | None
    """Who was asked; None: nobody."""
    objection: Objection | None

    @property
    def tissue(self) -> BoolArray:
        """The soft tissue, [256, 256]."""
        side = round((8 * len(self.bits)) ** 0.5)
        return np.unpackbits(self.bits).view(np.bool_).reshape(side, side)


@dataclass(frozen=True, slots=True)
class Gates:
    """What stands before a network: a gate on plain features, and one that knows trunks (None: there is none)."""

    plain: Gate
    trunk: TrunkGate | None = None

    def look(self, volume: HuVolume, start: int, small: FloatArray) -> tuple[list[Look], list[Objection | None]]:
        """Look at the slices [z, 256, 256] in HU (`to_matrix`) from index `start` on, and object to some."""
        looks = self._looks(volume, start, small)
        return looks, [self._objection(one) for one in looks]

    def _objection(self, look: Look) -> Objection | None:
        return self.plain.objection(look.features) or (look.objection if self.trunk is not None else None)

    def _looks(self, volume: HuVolume, start: int, small: Sequence[FloatArray] | FloatArray) -> list[Look]:
        field_of_view_mm = volume.spacing_mm[1] * volume.hu.shape[1]

        def look(offset: int) -> Look:
            known = volume.looks.get(start + offset)
            if known is None or (self.trunk is not None and known.trunk is not self.trunk):
                known = volume.looks[start + offset] = _look(small[offset], field_of_view_mm, self.trunk)
            return known

        threads = torch.get_num_threads()
        if threads == 1:
            return [look(offset) for offset in range(len(small))]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(look, range(len(small))))


def _look(hu: FloatArray, field_of_view_mm: float, trunk: TrunkGate | None) -> Look:
    anatomy = find_anatomy(hu)
    objection = None if trunk is None else trunk.objection(hu, anatomy, field_of_view_mm)
    return Look(measure(hu, anatomy, field_of_view_mm), np.packbits(anatomy.tissue), trunk, objection)
