"""The one table of codes: what the report can say, for programs, and the words that people read.

Codes come from DCM, SCT and UCUM (DICOM PS3.16) where one fits, else from our private scheme 99CTIQA. docs/codes.md
prints this table. A new class or evaluation needs one line here and a title in `wording`, a new measurement one in
`quantities`; without it the fallback gives a private code and a readable title.
"""

from __future__ import annotations

from pydicom.sr.coding import Code

from ctiqa_node.ct.volume import FindingCode
from ctiqa_node.report.coding import PRIVATE_SCHEME as PRIVATE_SCHEME
from ctiqa_node.report.coding import PRIVATE_SCHEME_NAME as PRIVATE_SCHEME_NAME
from ctiqa_node.report.coding import private_code as private_code
from ctiqa_node.report.quantities import QUANTITIES as QUANTITIES
from ctiqa_node.report.quantities import RANKED_BY as RANKED_BY
from ctiqa_node.report.quantities import Better as Better
from ctiqa_node.report.quantities import Quantity as Quantity
from ctiqa_node.report.quantities import quantity as quantity
from ctiqa_node.report.verdicts import CompletenessVerdict, NotScoredReason, QualityCategory
from ctiqa_node.report.wording import class_text as class_text
from ctiqa_node.report.wording import evaluation_title as evaluation_title
from ctiqa_node.report.wording import model_title as model_title
from ctiqa_node.report.wording import unit_meaning
from ctiqa_node.report.wording import value_text as value_text

_EVALUATIONS = {
    "n2q_dose": private_code("n2q_dose", "Dose class of a virtual reference scanner"),
    "chest_ctiqa_window": private_code("chest_window", "Window class of Chest CT-IQA"),
    "chest_ctiqa_exposure": private_code("chest_exposure", "Exposure class of a virtual reference scanner"),
    "chest_ctiqa_grade": private_code("chest_grade", "Grade of Chest CT-IQA"),
}
_DOSES = ("5 %", "10 %", "25 %", "50 %", "75 %")
CLASSES = {
    "n2q_dose": _DOSES,
    "chest_ctiqa_window": ("lung", "soft tissue"),
    "chest_ctiqa_exposure": ("30 mAs", "50 mAs"),
    "chest_ctiqa_grade": ("bad", "general", "good"),
}
"""The classes of each known classification."""

EVALUATION_READINGS = {
    "n2q_dose": "share of a virtual reference scanner's dose",
    "chest_ctiqa_window": "lung: sharp kernel; soft tissue: smooth kernel",
    "chest_ctiqa_exposure": "on a virtual reference scanner",
    "chest_ctiqa_grade": "bad, general or good, by the score",
}
QUALITY = Code("111101", "DCM", "Image Quality")
QUALITY_CATEGORIES = {
    QualityCategory.BAD: private_code("bad-quality", "Bad image quality"),
    QualityCategory.POOR: Code("122742", "DCM", "Poor image quality"),
    QualityCategory.FAIR: private_code("fair-quality", "Fair image quality"),
    QualityCategory.GOOD: Code("122741", "DCM", "Good image quality"),
    QualityCategory.EXCELLENT: Code("122740", "DCM", "Excellent image quality"),
}

SCORING_STATUS = private_code("scoring-status", "Scoring status")
SCORED = private_code("scored", "Scored")
NOT_SCORED = private_code("not-scored", "Not scored")
REASON = Code("410666004", "SCT", "Reason")
NOT_SCORED_REASONS = {
    NotScoredReason.TOO_LITTLE: private_code("too-little", "Too little in the images to judge"),
    NotScoredReason.SMALL_MATRIX: private_code("small-matrix", "Too few pixels in the slices"),
    NotScoredReason.OUT_OF_RANGE: private_code("out-of-range", "Beyond the range of the model's training"),
    NotScoredReason.OTHER_ANATOMY: private_code("other-anatomy", "Not the anatomy that the model was trained on"),
    NotScoredReason.UNFAMILIAR: private_code("unfamiliar", "Unlike the images that the model was trained on"),
    NotScoredReason.NO_WEIGHTS: private_code("no-weights", "Weights of the model not available"),
    NotScoredReason.NO_NUMBER: private_code("no-number", "The model's answer was not a number"),
    NotScoredReason.OTHER: private_code("other-reason", "Another reason, told in words"),
}

COMPLETENESS = private_code("completeness", "Completeness of the series")
COMPLETENESS_VERDICTS = {
    CompletenessVerdict.COMPLETE: Code("255594003", "SCT", "Complete"),
    CompletenessVerdict.PROBABLE: private_code("probably-all", "Probably complete"),
    CompletenessVerdict.GAPS: private_code("gaps", "Slices are missing"),
}
MISSING_SLICES = private_code("missing-slices", "Number of missing slices")

WINDOW_AGREEMENT = private_code("window-kernel", "Window class against the convolution kernel")
AGREES = private_code("agrees", "Agrees with the tags")
MISMATCH = private_code("mismatch", "Mismatch with the tags")

INPUT_FINDING = private_code("input-finding", "Input finding")
FINDINGS = {code: private_code(code.value) for code in FindingCode}
OTHER_CLASS = private_code("other-class", "Other class")
SLICES_LEFT_OUT = private_code("slices-left-out", "Slices left out")
CAVEAT = private_code("caveat", "Intended use")
SLICE_ROLE = private_code("slice-role", "Reason for selection")

REPORT_TITLE = private_code("quality-report", "CT image quality report")
ASSESSED_SERIES = private_code("assessed-series", "Assessed series")
ACQUISITION = private_code("acquisition", "Acquisition")
SERIES_VALUES = private_code("series-values", "Values of the series")
SERIES_CLASSES = private_code("series-classes", "Classes of the series")
CHOSEN_SLICES = private_code("chosen-slices", "Slices to look at")
REMARKS = private_code("remarks", "Remarks")
REMARK = private_code("remark", "Remark")
MODELS = private_code("models", "Models")
MODEL = private_code("model", "Model")
WRITTEN_BY = private_code("written-by", "Written by")

REPLACED_RESULT = private_code("replaced-result", "Earlier result, which this one replaces")

CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
COMMENT = Code("121106", "DCM", "Comment")

NOT_FOR_DIAGNOSIS = "Research use only. Not for diagnosis."


def evaluation_code(name: str) -> Code:
    """The concept of a classification."""
    return _EVALUATIONS.get(name) or private_code(name)


def class_code(name: str, label: str) -> Code:
    """The code of one class of a classification; its meaning is the label."""
    return private_code(f"{name} {label}", label)


def map_code(name: str) -> Code:
    """The quantity of a model's quality map."""
    return private_code(f"{name}_map", f"{model_title(name)} quality map")


def unit_code(unit: str) -> Code:
    """The UCUM code of a unit; an unknown one means itself."""
    return Code(unit, "UCUM", unit_meaning(unit))
