"""Whether all slices of a series came, as far as the node can know."""

from __future__ import annotations

import numpy as np

from ctiqa_node.ct import headers
from ctiqa_node.ct.volume import CtVolume, FindingCode
from ctiqa_node.report.verdicts import Completeness, CompletenessVerdict


def completeness(volume: CtVolume) -> Completeness:
    """Judge a volume by the places of its slices and by what its headers say.

    Slices are missing where neighbours lie two or more median distances apart, and where an instance could not be
    used. Without such gaps a series is complete when something says how many slices it has: one Enhanced CT instance
    holds all its frames, or Images in Acquisition (0020,1002) is their number (PS3.3 C.7.6.6, C.7.6.1).
    Otherwise a slice could still be missing at an end, and the series is probably complete.
    """
    missing = max(_missing_between(volume), _unusable(volume))
    if missing:
        return Completeness(CompletenessVerdict.GAPS, missing)
    return Completeness(CompletenessVerdict.COMPLETE if _all_told(volume) else CompletenessVerdict.PROBABLE)


def _missing_between(volume: CtVolume) -> int:
    gaps = np.diff(volume.geometry.distances)
    if not gaps.size:
        return 0
    return int(np.maximum(np.rint(gaps / np.median(gaps)) - 1, 0).sum())


def _unusable(volume: CtVolume) -> int:
    return sum(finding.code is FindingCode.UNUSABLE_INSTANCE for finding in volume.findings)


def _all_told(volume: CtVolume) -> bool:
    count = len(volume.sources)
    if any(finding.code is FindingCode.DUPLICATE_POSITION for finding in volume.findings):
        return False  # more than one acquisition, or a slice sent twice: the header's count tells nothing
    if len({source.sop_instance_uid for source in volume.sources}) == 1:
        return headers.integer(volume.headers[0], "NumberOfFrames") == count
    return headers.integer(volume.headers[0], "ImagesInAcquisition") == count
