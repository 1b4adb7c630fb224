"""VOI windows from Hounsfield units, as DICOM defines them."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Window:
    """A linear VOI window in HU: Window Center and Window Width, DICOM PS3.3 C.11.2.1.3.2 (LINEAR_EXACT)."""

    centre: float
    width: float

    def __post_init__(self) -> None:
        """Refuse a window of no width."""
        if not self.width > 0:
            raise ValueError(f"a window's width must be positive: {self.width}")

    @property
    def low(self) -> float:
        """The HU shown black."""
        return self.centre - self.width / 2

    @property
    def high(self) -> float:
        """The HU shown white."""
        return self.centre + self.width / 2

    def apply(self, hu: torch.Tensor) -> torch.Tensor:
        """`hu` of any shape to grey values 0–1; what lies outside the window is 0 or 1."""
        return ((hu - self.low) / self.width).clamp(0.0, 1.0)


ABDOMEN = Window(centre=40.0, width=300.0)
"""The abdomen window of the N2Q poster, −110 … 190 HU."""
