"""What the node measures: each number's code for programs, and how people read it.

A new measurement needs one entry here; without it the fallback gives a private code and a readable title.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from ctiqa_node.report.coding import Coding, private_coding, shortened, words

if TYPE_CHECKING:
    from pydicom.sr.coding import Code


class Better(StrEnum):
    """Which way a number gets better."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measurement: its `coding` for programs; title, digits, and how to read it for people.

    `plot_range` is the smallest range that a plot shows, in the measurement's unit: small differences then look small.
    `highest` is the greatest possible value. A `is_detail` stands last on the summary page, where there is room.
    `of_series` says how the series' value comes from those of its slices (PS3.16 CID 7464); None: not in such a way.
    """

    name: str
    coding: Coding
    title: str
    better: Better
    digits: int
    reading: str
    plot_range: float = 0.0
    highest: float = inf
    is_detail: bool = False
    of_series: Coding | None = None

    @property
    def code(self) -> Code:
        """The code, for pydicom."""
        return self.coding.code


def _quantities(*entries: Quantity) -> dict[str, Quantity]:
    return {entry.name: entry for entry in entries}


_MEAN = Coding("373098007", "SCT", "Mean")
_MEDIAN = Coding("373099004", "SCT", "Median")
_MINIMUM = Coding("255605001", "SCT", "Minimum")
_DEVIATION = Coding("386136009", "SCT", "Standard Deviation")
_EVEN = "how much slices differ; lower is more even"
_TURNED = "how much the answer hangs on how the slice is turned"

_WORST, _HALF = "the score of the worst slice", "half of the slices score below it"
_SPREADS = (
    ("tfkt_spread", "tfkt_spread", "TFKT score spread", "TFKT spread", 2, _EVEN, _DEVIATION),
    ("tfkt_uncertainty", "tfkt_uncertainty", "TFKT score, spread over flips", "TFKT uncertainty", 2, _TURNED, _MEAN),
    (
        "tfkt_imported_spread",
        "tfkt_imp_spread",
        "TFKT score spread, imported weights",
        "TFKT spread (imported)",
        2,
        _EVEN,
        _DEVIATION,
    ),
    (
        "tfkt_imported_uncertainty",
        "tfkt_imp_uncert",
        "TFKT score, spread over flips, imported weights",
        "TFKT uncert. (imported)",
        2,
        _TURNED,
        _MEAN,
    ),
    ("n2q_quality_spread", "n2q_spread", "N2Q quality spread", "N2Q spread", 3, _EVEN, _DEVIATION),
    ("n2q_uncertainty", "n2q_uncertainty", "N2Q quality, spread over flips", "N2Q uncertainty", 3, _TURNED, _MEAN),
    (
        "n2q_imported_quality_spread",
        "n2q_imp_spread",
        "N2Q quality spread, imported weights",
        "N2Q spread (imported)",
        3,
        _EVEN,
        _DEVIATION,
    ),
    (
        "n2q_imported_uncertainty",
        "n2q_imp_uncert",
        "N2Q quality, spread over flips, imported weights",
        "N2Q uncert. (imported)",
        3,
        _TURNED,
        _MEAN,
    ),
    (
        "chest_ctiqa_score_spread",
        "chest_spread",
        "Chest CT-IQA score, spread over flips",
        "Chest CT-IQA spread",
        2,
        _TURNED,
        None,
    ),
)
_OF_ALL_SLICES = (
    ("tfkt_minimum", "tfkt_minimum", "TFKT score of the worst slice", "TFKT minimum", _WORST, _MINIMUM),
    ("tfkt_median", "tfkt_median", "TFKT median score", "TFKT median", _HALF, _MEDIAN),
    (
        "tfkt_imported_minimum",
        "tfkt_imp_min",
        "TFKT score of the worst slice, imported weights",
        "TFKT minimum (imported)",
        _WORST,
        _MINIMUM,
    ),
    (
        "tfkt_imported_median",
        "tfkt_imp_median",
        "TFKT median score, imported weights",
        "TFKT median (imported)",
        _HALF,
        _MEDIAN,
    ),
)

# In the order of the summary page.
QUANTITIES = _quantities(
    Quantity(
        "tfkt_score",
        private_coding("tfkt_score", "TFKT score"),
        "TFKT score",
        Better.HIGHER,
        2,
        "0 bad, 1 poor, 2 fair, 3 good, 4 excellent",
        1.0,
        4.0,
        of_series=_MEAN,
    ),
    Quantity(
        "chest_ctiqa_score",
        private_coding("chest_score", "Chest CT-IQA score"),
        "Chest CT-IQA score",
        Better.HIGHER,
        1,
        "1 to 10; bad to 3, general to 7, good from 8",
        highest=10.0,
    ),
    Quantity(
        "n2q_quality",
        private_coding("n2q_quality", "N2Q quality"),
        "N2Q quality",
        Better.HIGHER,
        2,
        "mean of the map in soft tissue: likeness to full dose with this kernel; 1 is best",
        0.2,
        1.0,
        of_series=_MEAN,
    ),
    Quantity(
        "noise_level",
        private_coding("noise_level", "Global noise level"),
        "Noise level",
        Better.LOWER,
        1,
        "standard deviation in soft tissue; lower is better",
        4.0,
    ),
    Quantity(
        "snr",
        Coding("111787", "DCM", "Signal to Noise Ratio"),
        "SNR",
        Better.HIGHER,
        2,
        "mean over standard deviation; higher is better",
    ),
    Quantity(
        "brisque",
        private_coding("brisque", "BRISQUE"),
        "BRISQUE",
        Better.LOWER,
        1,
        "unlikeness to natural images; lower is better",
        of_series=_MEAN,
    ),
    Quantity(
        "tfkt_imported_score",
        private_coding("tfkt_imp_score", "TFKT score, imported weights"),
        "TFKT score (imported)",
        Better.HIGHER,
        2,
        "0 bad, 1 poor, 2 fair, 3 good, 4 excellent",
        1.0,
        4.0,
        of_series=_MEAN,
    ),
    Quantity(
        "n2q_imported_quality",
        private_coding("n2q_imp_quality", "N2Q quality, imported weights"),
        "N2Q quality (imported)",
        Better.HIGHER,
        2,
        "mean of the map in soft tissue: likeness to a full-dose image; 1 is best",
        0.2,
        1.0,
        of_series=_MEAN,
    ),
    *(
        Quantity(
            name, private_coding(code, meaning), title, Better.LOWER, digits, reading, is_detail=True, of_series=how
        )
        for name, code, meaning, title, digits, reading, how in _SPREADS
    ),
    *(
        Quantity(
            name,
            private_coding(code, meaning),
            title,
            Better.HIGHER,
            2,
            reading,
            0.0,
            4.0,
            is_detail=True,
            of_series=how,
        )
        for name, code, meaning, title, reading, how in _OF_ALL_SLICES
    ),
    Quantity(
        "chest_ctiqa_snr",
        private_coding("chest_snr", "SNR as Chest CT-IQA predicts it"),
        "Chest CT-IQA SNR",
        Better.HIGHER,
        2,
        "predicted; higher is better",
        is_detail=True,
    ),
    Quantity(
        "chest_ctiqa_brisque",
        private_coding("chest_brisque", "BRISQUE as Chest CT-IQA predicts it"),
        "Chest CT-IQA BRISQUE",
        Better.LOWER,
        1,
        "predicted; lower is better",
        is_detail=True,
    ),
)

# Which measurement says what the worst slice is, the first one that a series has.
RANKED_BY = ("tfkt_score", "n2q_quality", "tfkt_imported_score", "n2q_imported_quality", "noise_level")


def quantity(name: str) -> Quantity:
    """The table's entry for a measurement, or one made from its name."""
    known = QUANTITIES.get(name)
    if known is not None:
        return known
    return Quantity(name, private_coding(name), shortened(words(name), 24), Better.UNKNOWN, 2, "")
