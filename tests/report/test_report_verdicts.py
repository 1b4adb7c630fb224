"""What follows from numbers by a rule, held to what the models really say."""

from __future__ import annotations

import pytest

from ctiqa_models.api import ReasonCode
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.labels import window_of_kernel as window_of_training
from ctiqa_node.report import codes
from ctiqa_node.report.kernels import window_of_kernel
from ctiqa_node.report.verdicts import Completeness, CompletenessVerdict, NotScoredReason

KERNELS = (
    *("LUNG", "BONE", "BONEPLUS", "STANDARD", "soft", "DETAIL", "CHST", "L", "B", "D", "YA", "YC", "D40s", "", "x"),
    *("B10f", "B31f", "B45f", "B50f", "B70f", "Br40d", "Br49", "Bl57", "I30f", "I70f\\3", "59 .10.AB50", "Qr44"),
    *("FC01", "FC18", "FC20", "FC30", "FC51", "FC86", "FC90"),
)


def test_the_windows_of_kernels_are_those_of_the_training_data() -> None:
    for kernel in KERNELS:
        trained: Window | None = window_of_training(kernel)
        assert window_of_kernel(kernel) == (trained.words if trained is not None else None), kernel


def test_the_classes_of_the_table_are_those_of_the_models() -> None:
    from ctiqa_models.chest_ctiqa.fit import grade
    from ctiqa_models.chest_ctiqa.scanner import Exposure
    from ctiqa_models.n2q.network import DOSE_CLASSES

    assert codes.CLASSES["chest_ctiqa_window"] == tuple(one.words for one in Window)
    assert codes.CLASSES["chest_ctiqa_exposure"] == tuple(one.words for one in Exposure)
    assert codes.CLASSES["chest_ctiqa_grade"] == tuple(dict.fromkeys(grade(score) for score in range(1, 11)))
    assert codes.CLASSES["n2q_dose"] == tuple(f"{share:.0%}".replace("%", " %") for share in DOSE_CLASSES)


def test_the_reasons_of_the_report_are_those_of_the_models_and_each_has_a_code() -> None:
    assert [reason.value for reason in NotScoredReason] == [reason.value for reason in ReasonCode]
    assert set(codes.NOT_SCORED_REASONS) == set(NotScoredReason)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (Completeness(CompletenessVerdict.COMPLETE), "complete"),
        (Completeness(CompletenessVerdict.PROBABLE), "probable"),
        (Completeness(CompletenessVerdict.GAPS, 3), "gaps(3)"),
    ],
)
def test_completeness_is_one_word(found: Completeness, word: str) -> None:
    assert str(found) == word
