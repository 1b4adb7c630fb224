"""Why a model gives no number is a sentence and a code, and neither stands without the other."""

from __future__ import annotations

import numpy as np
import pytest

from ctiqa_models.api import Assessment, Assessor, HuVolume, ModelIdentity, ReasonCode, Status
from ctiqa_models.classical.brisque import Brisque
from ctiqa_models.classical.noise_level import NoiseLevel
from ctiqa_models.classical.snr import Snr
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.plausible import why_not

IDENTITY = ModelIdentity(name="any", version="1", summary="", trained_on="")


@pytest.mark.parametrize(
    ("assessor", "side", "code"),
    [
        (Snr(), 64, ReasonCode.TOO_LITTLE),
        (Snr(), 6, ReasonCode.SMALL_MATRIX),
        (NoiseLevel(), 64, ReasonCode.TOO_LITTLE),
        (Brisque(), 64, ReasonCode.TOO_LITTLE),
    ],
)
def test_air_and_a_few_pixels_have_their_codes(assessor: Assessor, side: int, code: ReasonCode) -> None:
    air = HuVolume(np.full((2, side, side), -1000, dtype=np.float32), (3.0, 0.8, 0.8))
    assessment = assessor.assess(air, lambda share: None)
    assert (assessment.status, assessment.reason_code) == (Status.NOT_SCORED, code)


def test_a_volume_is_refused_for_what_most_of_its_slices_are_refused_for() -> None:
    strange = Objection("familiarity", "it is strange", ReasonCode.UNFAMILIAR)
    empty = Objection("body", "no body was found in the slice", ReasonCode.TOO_LITTLE)
    found = why_not([empty, strange, strange], 4, "cannot be judged")
    assert found == Objection(
        "familiarity", "3 of 4 slices cannot be judged; most often: it is strange", ReasonCode.UNFAMILIAR
    )


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (Status.NOT_SCORED, None, None),
        (Status.NOT_SCORED, "because", None),
        (Status.NOT_SCORED, None, ReasonCode.OTHER),
        (Status.SCORED, "because", ReasonCode.OTHER),
    ],
)
def test_a_reason_without_its_code_or_beside_numbers_is_refused(
    status: Status, reason: str | None, code: ReasonCode | None
) -> None:
    with pytest.raises(ValueError, match="any is "):
        Assessment(IDENTITY, status, reason=reason, reason_code=code)
