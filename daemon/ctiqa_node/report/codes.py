"""The one table of what the node can report: its codes, and the words that people read.

A new model needs one line here; without it the fallback gives a private code and a readable title. Codes come from
DCM, SCT and UCUM (DICOM PS3.16) where one fits, else from our private scheme 99CTIQA.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99CTIQA"
PRIVATE_SCHEME_NAME = "ctiqa-node: CT image quality"
_LONGEST_CODE_VALUE = 16  # Code Value is a short string (SH)
_LONGEST_MEANING = 64  # Code Meaning is a long string (LO)


class Better(StrEnum):
    """Which way a number gets better."""

    HIGHER = "higher is better"
    LOWER = "lower is better"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measurement: its code for programs; title, digits, and how to read it for people.

    `plot_range` is the smallest range that a plot shows, in the measurement's unit: small differences then look small.
    `highest` is the greatest possible value. A `is_detail` stands last on the summary page, where there is room.
    """

    name: str
    code: Code
    title: str
    better: Better
    digits: int
    reading: str
    plot_range: float = 0.0
    highest: float = inf
    is_detail: bool = False


def private_code(text: str, meaning: str | None = None) -> Code:
    """Make a code of our own scheme from any text: the same text always gives the same code.

    Capitals, digits and hyphens, at most 16 characters; a longer text keeps its beginning and four hexadecimal digits
    of its hash.
    """
    value = re.sub(r"[^A-Z0-9]+", "-", text.upper()).strip("-")
    if not value or len(value) > _LONGEST_CODE_VALUE:
        digest = hashlib.sha256(text.encode()).hexdigest()[:4].upper()
        value = f"{value[: _LONGEST_CODE_VALUE - 5].strip('-')}-{digest}".strip("-")
    return Code(value, PRIVATE_SCHEME, shortened(meaning or words(text), _LONGEST_MEANING))


def words(name: str) -> str:
    """Turn a name of a program ("noise_level") into words ("Noise level")."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:] or "Unnamed"


def shortened(text: str, longest: int) -> str:
    """Cut a text to at most `longest` characters, with three dots where something is missing."""
    return text if len(text) <= longest else text[: longest - 3].rstrip() + "..."


def _quantities(*entries: Quantity) -> dict[str, Quantity]:
    return {entry.name: entry for entry in entries}


_SPREAD = "how much slices differ; lower is more even"
_TURNED = "how much the answer hangs on how the slice is turned"

# In the order of the summary page.
QUANTITIES = _quantities(
    Quantity(
        "tfkt_score",
        private_code("tfkt_score", "TFKT score"),
        "TFKT score",
        Better.HIGHER,
        2,
        "0 bad, 1 poor, 2 fair, 3 good, 4 excellent",
        1.0,
        4.0,
    ),
    Quantity(
        "chest_ctiqa_score",
        private_code("chest_score", "Chest CT-IQA score"),
        "Chest CT-IQA score",
        Better.HIGHER,
        1,
        "1 to 10; bad to 3, general to 7, good from 8",
        highest=10.0,
    ),
    Quantity(
        "n2q_quality",
        private_code("n2q_quality", "N2Q quality"),
        "N2Q quality",
        Better.HIGHER,
        2,
        "likeness to full dose with this kernel, 0 to 1; higher is better",
        0.2,
        1.0,
    ),
    Quantity(
        "noise_level",
        private_code("noise_level", "Global noise level"),
        "Noise level",
        Better.LOWER,
        1,
        "standard deviation in soft tissue; lower is better",
        4.0,
    ),
    Quantity(
        "snr",
        Code("111787", "DCM", "Signal to Noise Ratio"),
        "SNR",
        Better.HIGHER,
        2,
        "mean over standard deviation; higher is better",
    ),
    Quantity(
        "brisque",
        private_code("brisque", "BRISQUE"),
        "BRISQUE",
        Better.LOWER,
        1,
        "unlikeness to natural images; lower is better",
    ),
    Quantity(
        "tfkt_imported_score",
        private_code("tfkt_imp_score", "TFKT score, imported weights"),
        "TFKT score (imported)",
        Better.HIGHER,
        2,
        "0 bad, 1 poor, 2 fair, 3 good, 4 excellent",
        1.0,
        4.0,
    ),
    Quantity(
        "n2q_imported_quality",
        private_code("n2q_imp_quality", "N2Q quality, imported weights"),
        "N2Q quality (imported)",
        Better.HIGHER,
        2,
        "likeness to a full-dose image, 0 to 1; higher is better",
        0.2,
        1.0,
    ),
    *(
        Quantity(name, private_code(code, meaning), title, Better.LOWER, digits, reading, is_detail=True)
        for name, code, meaning, title, digits, reading in (
            ("tfkt_spread", "tfkt_spread", "TFKT score spread", "TFKT spread", 2, _SPREAD),
            ("tfkt_uncertainty", "tfkt_uncertainty", "TFKT score, spread over flips", "TFKT uncertainty", 2, _TURNED),
            ("n2q_quality_spread", "n2q_spread", "N2Q quality spread", "N2Q spread", 3, _SPREAD),
            ("n2q_uncertainty", "n2q_uncertainty", "N2Q quality, spread over flips", "N2Q uncertainty", 3, _TURNED),
            (
                "n2q_imported_quality_spread",
                "n2q_imp_spread",
                "N2Q quality spread, imported weights",
                "N2Q spread (imported)",
                3,
                _SPREAD,
            ),
            (
                "chest_ctiqa_score_spread",
                "chest_spread",
                "Chest CT-IQA score, spread over flips",
                "Chest CT-IQA spread",
                2,
                _TURNED,
            ),
        )
    ),
    Quantity(
        "tfkt_minimum",
        private_code("tfkt_minimum", "TFKT score of the worst slice"),
        "TFKT minimum",
        Better.HIGHER,
        2,
        "the score of the worst slice",
        highest=4.0,
        is_detail=True,
    ),
    Quantity(
        "tfkt_median",
        private_code("tfkt_median", "TFKT median score"),
        "TFKT median",
        Better.HIGHER,
        2,
        "half of the slices score below it",
        highest=4.0,
        is_detail=True,
    ),
    Quantity(
        "chest_ctiqa_snr",
        private_code("chest_snr", "SNR as Chest CT-IQA predicts it"),
        "Chest CT-IQA SNR",
        Better.HIGHER,
        2,
        "predicted; higher is better",
        is_detail=True,
    ),
    Quantity(
        "chest_ctiqa_brisque",
        private_code("chest_brisque", "BRISQUE as Chest CT-IQA predicts it"),
        "Chest CT-IQA BRISQUE",
        Better.LOWER,
        1,
        "predicted; lower is better",
        is_detail=True,
    ),
)

# Which measurement says what the worst slice is, the first one that a series has.
RANKED_BY = ("tfkt_score", "n2q_quality", "tfkt_imported_score", "n2q_imported_quality", "noise_level")

_EVALUATIONS = {
    "n2q_dose": private_code("n2q_dose", "Dose class of a virtual reference scanner"),
    "chest_ctiqa_window": private_code("chest_window", "Window class of Chest CT-IQA"),
    "chest_ctiqa_exposure": private_code("chest_exposure", "Exposure class of a virtual reference scanner"),
    "chest_ctiqa_grade": private_code("chest_grade", "Grade of Chest CT-IQA"),
}
_EVALUATION_TITLES = {
    "n2q_dose": "Dose class",
    "chest_ctiqa_window": "Window class",
    "chest_ctiqa_exposure": "Exposure class",
    "chest_ctiqa_grade": "Chest CT-IQA grade",
}
EVALUATION_READINGS = {
    "n2q_dose": "share of a virtual reference scanner's dose",
    "chest_ctiqa_window": "lung: sharp kernel; soft tissue: smooth kernel",
    "chest_ctiqa_exposure": "on a virtual reference scanner",
    "chest_ctiqa_grade": "bad, general or good, by the score",
}
_MODEL_TITLES = {
    "n2q": "N2Q",
    "n2q_imported": "N2Q (imported)",
    "tfkt": "TFKT",
    "tfkt_imported": "TFKT (imported)",
    "chest_ctiqa": "Chest CT-IQA",
    "snr": "SNR",
    "brisque": "BRISQUE",
}

_UNITS = {
    "1": ("no units", ""),
    "[hnsf'U]": ("Hounsfield unit", "HU"),
    "%": ("Percent", "%"),
    "mm": ("millimeter", "mm"),
}

SCORING_STATUS = private_code("scoring-status", "Scoring status")
NOT_SCORED = private_code("not-scored", "Not scored")
INPUT_FINDING = private_code("input-finding", "Input finding")
OTHER_CLASS = private_code("other-class", "Other class")
SLICES_LEFT_OUT = private_code("slices-left-out", "Slices left out")
CAVEAT = private_code("caveat", "Intended use")
SLICE_ROLE = private_code("slice-role", "Reason for selection")

NOT_FOR_DIAGNOSIS = "Research use only. Not for diagnosis."


def quantity(name: str) -> Quantity:
    """The table's entry for a measurement, or one made from its name."""
    known = QUANTITIES.get(name)
    if known is not None:
        return known
    return Quantity(name, private_code(name), shortened(words(name), 24), Better.UNKNOWN, 2, "")


def evaluation_code(name: str) -> Code:
    """The concept of a classification."""
    return _EVALUATIONS.get(name) or private_code(name)


def evaluation_title(name: str) -> str:
    """A classification's title for people."""
    return _EVALUATION_TITLES.get(name) or words(name)


def class_code(name: str, label: str) -> Code:
    """The code of one class of a classification; its meaning is the label."""
    return private_code(f"{name} {label}", label)


def class_text(label: str, probability: float) -> str:
    """A class for people, with its probability; one that follows from a number by a rule stands alone."""
    return label if probability == 1 else f"{label} ({100 * probability:.0f} % likely)"


def model_title(name: str) -> str:
    """A model's name for people."""
    return _MODEL_TITLES.get(name) or words(name)


def unit_code(unit: str) -> Code:
    """The UCUM code of a unit; an unknown one means itself."""
    return Code(unit, "UCUM", _UNITS.get(unit, (unit, unit))[0])


def value_text(name: str, value: float, unit: str) -> str:
    """A value for people, with its unit: "14.2 HU", "0.82"."""
    symbol = _UNITS.get(unit, (unit, unit))[1]
    return f"{value:.{quantity(name).digits}f} {symbol}".rstrip()
