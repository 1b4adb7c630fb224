"""Whether all slices of a series came, as far as the node can know."""

from __future__ import annotations

import numpy as np

from ctiqa_node.ct import headers
from ctiqa_node.ct.volume import CtVolume, FindingCode
from ctiqa_node.report.verdicts import ArchiveAnswer, Completeness, CompletenessVerdict


def completeness(volume: CtVolume, archive: ArchiveAnswer | None = None) -> Completeness:
    """Judge a volume by the places of its slices, by what its headers say, and by what an archive was asked.

    Slices are missing where neighbours lie two or more median distances apart, where an instance could not be used,
    and where the archive has more instances of the series than came here. Otherwise a series is complete when something
    says how many slices it has: one Enhanced CT instance holds all its frames, or Images in Acquisition (0020,1002) is
    their number (PS3.3 C.7.6.6, C.7.6.1), or the archive has as many instances. Without that a slice could still be
    missing at an end, and the series is probably complete.
    """
    between, unusable = _missing_between(volume), _unusable(volume)
    elsewhere = 0 if archive is None else archive.missing
    told = _all_told(volume)
    agrees = archive is not None and archive.instances == archive.here
    evidence = [
        *([f"{_counted(between)} missing between neighbours"] if between else ["no gap between neighbouring slices"]),
        *([f"{_counted(unusable)} could not be used"] if unusable else []),
        *([] if told is None else [told]),
        *([] if archive is None else [archive.sentence]),
    ]
    if missing := max(between, unusable, elsewhere):
        return Completeness(CompletenessVerdict.GAPS, missing, tuple(evidence))
    verdict = CompletenessVerdict.COMPLETE if told is not None or agrees else CompletenessVerdict.PROBABLE
    return Completeness(verdict, 0, tuple(evidence))


def _counted(slices: int) -> str:
    return f"{slices} slice{'' if slices == 1 else 's'}"


def _missing_between(volume: CtVolume) -> int:
    gaps = np.diff(volume.geometry.distances)
    if not gaps.size:
        return 0
    return int(np.maximum(np.rint(gaps / np.median(gaps)) - 1, 0).sum())


def _unusable(volume: CtVolume) -> int:
    return sum(finding.code is FindingCode.UNUSABLE_INSTANCE for finding in volume.findings)


def _all_told(volume: CtVolume) -> str | None:
    """What in the headers says that these are all slices, in words; None where nothing does."""
    count = len(volume.sources)
    if any(finding.code is FindingCode.DUPLICATE_POSITION for finding in volume.findings):
        return None  # more than one acquisition, or a slice sent twice: the header's count tells nothing
    if len({source.sop_instance_uid for source in volume.sources}) == 1:
        frames = headers.integer(volume.headers[0], "NumberOfFrames") == count
        return f"one Enhanced CT instance has all of its {count} frames" if frames else None
    if headers.integer(volume.headers[0], "ImagesInAcquisition") == count:
        return f"Images in Acquisition says {count}"
    return None
