"""The words that people read in place of names and codes: titles, classes and values with their units.

Apart from the codes, so that the command line, which shows the same words, starts without DICOM.
"""

from __future__ import annotations

from ctiqa_node.report.coding import words
from ctiqa_node.report.quantities import quantity

_EVALUATION_TITLES = {
    "n2q_dose": "Dose class",
    "chest_ctiqa_window": "Window class",
    "chest_ctiqa_exposure": "Exposure class",
    "chest_ctiqa_grade": "Chest CT-IQA grade",
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
    "{slices}": ("slices", "slices"),
}


def evaluation_title(name: str) -> str:
    """A classification's title for people."""
    return _EVALUATION_TITLES.get(name) or words(name)


def class_text(label: str, probability: float) -> str:
    """A class for people, with its probability; one that follows from a number by a rule stands alone."""
    return label if probability == 1 else f"{label} ({100 * probability:.0f} % likely)"


def model_title(name: str) -> str:
    """A model's name for people."""
    return _MODEL_TITLES.get(name) or words(name)


def unit_meaning(unit: str) -> str:
    """What a unit's UCUM code means; an unknown one means itself."""
    return _UNITS.get(unit, (unit, unit))[0]


def value_text(name: str, value: float, unit: str) -> str:
    """A value for people, with its unit: "14.2 HU", "0.82"."""
    symbol = _UNITS.get(unit, (unit, unit))[1]
    return f"{value:.{quantity(name).digits}f} {symbol}".rstrip()
