"""What follows from numbers and sentences by a rule, held to what the models really say."""

from __future__ import annotations

import numpy as np
import pytest

from ctiqa_models.api import HuVolume
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.labels import window_of_kernel as window_of_training
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.plausible import odd_shape, why_not
from ctiqa_node.report import codes
from ctiqa_node.report.kernels import window_of_kernel
from ctiqa_node.report.verdicts import Completeness, CompletenessVerdict, NotScoredReason, not_scored_reason

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


def _said_by_models() -> dict[str, NotScoredReason]:
    from ctiqa_models.n2q import assess as n2q
    from ctiqa_models.n2q.public import NONE_INSTALLED as NO_N2Q
    from ctiqa_models.tfkt import assess as tfkt
    from ctiqa_models.tfkt.release import NONE_INSTALLED as NO_TFKT

    no_body = Objection("body", "no body was found in the slice")
    oblong = odd_shape(HuVolume(np.zeros((1, 10, 30), dtype=np.float32), (1.0, 1.0, 1.0)))
    assert oblong is not None
    return {
        oblong: NotScoredReason.OUT_OF_DOMAIN,
        why_not([no_body], 1, n2q._VERDICT): NotScoredReason.OUT_OF_DOMAIN,
        why_not([no_body], 1, tfkt._VERDICT): NotScoredReason.TOO_LITTLE,
        NO_N2Q: NotScoredReason.NO_WEIGHTS,
        NO_TFKT: NotScoredReason.NO_WEIGHTS,
        "its weights are missing or not the released ones; the node's log tells more": NotScoredReason.NO_WEIGHTS,
        "it gave nan for snr, which is no number": NotScoredReason.NO_NUMBER,
        "no chest: lungs were found in 10 % of the slices": NotScoredReason.OUT_OF_DOMAIN,
        "no slice has 10 cm² of soft tissue (0–100 HU)": NotScoredReason.TOO_LITTLE,
        "the slices are smaller than one 10 mm sub-volume": NotScoredReason.TOO_LITTLE,
        "no sub-volume of varying tissue in the volume": NotScoredReason.TOO_LITTLE,
        "no slice shows enough in the soft-tissue window": NotScoredReason.TOO_LITTLE,
        "something new": NotScoredReason.OTHER,
    }


def test_the_sentences_of_the_models_have_their_reasons() -> None:
    said = _said_by_models()
    assert {sentence: not_scored_reason(sentence) for sentence in said} == said


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
