"""From the four outputs of Chest CT-IQA to a score of 1–10: the published fit, or one to a site's own readers.

Y = β0 + Σ βi·Xi (paper, equation 4). The paper publishes the weights −0.0536, −0.0256, −0.1192, 1.3802 and the
intercept 6.1930 without saying which belongs to what. Equation 4 names window, exposure, SNR, BRISQUE, but 1.3802 times
BRISQUE (0–100) leaves the 1–10 scale. Its Table 4 lists SNR, BRISQUE, Window, Exposure, and there the signs of the
correlations with the readers (−, −, −, +) are those of the weights, in that order. So that order is taken.

The coding of the classes is not told either. More exposure brought better scores, so 50 mAs is 1 and 30 mAs is 0: the
class that the paper names second counts as 1. By the same rule soft tissue is 1 and lung is 0; were it the other way
round, no score would move by more than 0.12.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctiqa_models.chest_ctiqa.calibration import Calibration

FIT_FILE = "chest_ctiqa_fit.json"
LOWEST, HIGHEST = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Features:
    """What the network says of a series: X of equation 4."""

    snr: float
    brisque: float
    window: float
    """Probability that the series is one for soft tissue, 0–1."""
    exposure: float
    """Probability of the higher exposure, 0–1."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of equation 4, and where they are from: both empty for the published ones."""

    snr: float = -0.0536
    brisque: float = -0.0256
    window: float = -0.1192
    exposure: float = 1.3802
    intercept: float = 6.1930
    fitted_at: str = ""
    """ISO 8601, UTC."""
    data_sha256: str = ""
    """Of the readers' scores and the features that they were fitted to."""

    @property
    def is_published(self) -> bool:
        """Whether these are the paper's coefficients and not a site's."""
        return not self.fitted_at

    def score(self, features: Features) -> float:
        """The score Y, clipped to 1–10."""
        return min(max(self.unclipped(features), LOWEST), HIGHEST)

    def unclipped(self, features: Features) -> float:
        """Y as equation 4 gives it."""
        weights = (self.snr, self.brisque, self.window, self.exposure)
        return self.intercept + math.fsum(b * x for b, x in zip(weights, astuple(features), strict=True))

    def told(self) -> str:
        """Whose coefficients these are, as words within a sentence."""
        return "the paper's coefficients" if self.is_published else f"this site's coefficients of {self.fitted_at[:10]}"


PUBLISHED = Fit()


def grade(score: float) -> str:
    """The paper's class of a score, rounded to a whole number: bad 1–3, general 4–7, good 8–10."""
    whole = math.floor(score + 0.5)
    if whole <= 3:
        return "bad"
    return "general" if whole <= 7 else "good"


def save_fit(folder: Path, calibration: Calibration) -> Path:
    """Keep a site's calibration in its folder of models, in place of the last one. Raises OSError.

    The file is written under another name first; what root writes belongs to whom the folder above belongs.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / FIT_FILE
    part = path.with_suffix(".part")
    try:
        part.write_text(json.dumps(asdict(calibration), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if os.geteuid() == 0:
            owner = folder.parent.stat()
            for made in (folder, part):
                os.chown(made, owner.st_uid, owner.st_gid)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load_fit(folder: Path | None) -> Fit:
    """The fit that a site saved in its folder of models; the published one without a folder, or when it saved none.

    Raises ValueError for a file that cannot be read or holds no such fit: a site that calibrated must not silently get
    other coefficients.
    """
    path = None if folder is None else folder / FIT_FILE
    if path is None or not path.exists():
        return PUBLISHED
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["fit"]
        numbers = {name: float(kept[name]) for name in ("snr", "brisque", "window", "exposure", "intercept")}
        words = {name: str(kept[name]) for name in ("fitted_at", "data_sha256")}
        if set(kept) != {field.name for field in fields(Fit)} or not all(map(math.isfinite, numbers.values())):
            raise ValueError("the coefficients are not those of this version")
        return Fit(**numbers, **words)  # type: ignore[arg-type] # the keys are spelt out above
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}). Run `ctiqa-node calibrate` again.") from error
