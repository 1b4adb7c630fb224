"""Asking an archive how many instances it has of a Series (C-FIND, Study Root; PS3.4 Annex C)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StudyRootQueryRetrieveInformationModelFind,
)

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import NoAssociation, Patience, application_entity, associate
from ctiqa_node.dimse.tls import ClientTls
from ctiqa_node.errors import RetryLater

PENDING = (0xFF00, 0xFF01)
UNREADABLE = (ValueError, TypeError, AttributeError, KeyError, NotImplementedError)
"""What pydicom raises over an answer that is no dataset."""
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class SeriesName:
    """What names a Series in a query."""

    study_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class Counted:
    """How many instances an archive has of a Series; None, and the trouble in words, where it could not say."""

    instances: int | None
    trouble: str | None = None


def count_instances(
    peer: ApplicationEntity, calling: str, wanted: Sequence[SeriesName], patience: Patience, tls: ClientTls | None
) -> list[Counted]:
    """Ask for each Series, over one association; an archive that is silent once is not asked for the others.

    Number of Series Related Instances (0020,1209) is asked for first; it is optional in PS3.4 C.6.2.1.4, so that an
    archive that leaves it out is asked for the instances themselves. No match is 0 instances.
    """
    ae = application_entity(calling, patience)
    ae.requested_contexts = [build_context(StudyRootQueryRetrieveInformationModelFind, list(SYNTAXES))]
    association = associate(ae, peer, tls)
    if isinstance(association, NoAssociation):
        trouble = f"{peer} does not offer C-FIND (Study Root)" if association.refused else association.sentence
        return [Counted(None, trouble)] * len(wanted)
    found: list[Counted] = []
    try:
        for each in wanted:
            found.append(_count(association, each, patience.answer))  # noqa: PERF401  # what was counted stays counted
    except (RetryLater, *UNREADABLE) as error:
        found += [Counted(None, f"{peer} {error}")] * (len(wanted) - len(found))
    finally:
        if association.is_established:
            association.release()
    return found


def _count(association: Association, wanted: SeriesName, seconds: float) -> Counted:
    until = time.monotonic() + seconds
    of_series = _query("SERIES", wanted)
    of_series.NumberOfSeriesRelatedInstances = None
    matches = list(_find(association, of_series, until))
    if not matches:
        return Counted(0)
    told = matches[0].get("NumberOfSeriesRelatedInstances")
    if told not in (None, ""):
        return Counted(int(told))
    of_instances = _query("IMAGE", wanted)
    of_instances.SOPInstanceUID = ""
    return Counted(len({each.get("SOPInstanceUID") for each in _find(association, of_instances, until)}))


def _find(association: Association, query: Dataset, until: float) -> Iterator[Dataset]:
    if not association.is_established:
        raise RetryLater("ended the association")
    answers = association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind)
    for status, identifier in answers:
        code = getattr(status, "Status", None)
        if code is None:
            raise RetryLater("gave no answer to C-FIND in time, or ended the association")
        if time.monotonic() > until:
            association.abort()  # whoever drips answers would keep us for ever
            raise RetryLater("took too long to answer C-FIND")
        if code in PENDING:
            if identifier is not None:
                yield identifier
        elif code != 0:
            raise RetryLater(f"answered C-FIND with 0x{code:04X}")


def _query(level: str, wanted: SeriesName) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    query.StudyInstanceUID = wanted.study_uid
    query.SeriesInstanceUID = wanted.series_uid
    return query
