"""Making the result objects of a report as DICOM files; one that cannot be made is an answer, too."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from pydicom import dcmwrite
from pydicom.dataset import Dataset

from ctiqa_node.db.states import OutputKind
from ctiqa_node.logs import get_logger
from ctiqa_node.report.content import Progress, Report
from ctiqa_node.report.encapsulated_pdf import encapsulated_pdf
from ctiqa_node.report.key_objects import key_objects
from ctiqa_node.report.objects import instance_uid
from ctiqa_node.report.parametric_map import parametric_map
from ctiqa_node.report.quality_maps import quality_map_capture
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.summary_page import summary_page
from ctiqa_node.report.text_report import text_report
from ctiqa_node.report.uids import ResultKind

log = get_logger(__name__)

_MOST_IN_MEMORY = 64 << 20
"""A larger object is encoded into a file without a name."""

Maker = Callable[[Report, Progress], Dataset | None]


@dataclass(frozen=True, slots=True)
class MadeOutput:
    """One result object, encoded as a DICOM file that is read from its beginning, and gone when it is closed."""

    kind: OutputKind
    dataset: Dataset
    file: IO[bytes]


@dataclass(frozen=True, slots=True)
class NotMade:
    """A result object that could not be made, and why."""

    kind: OutputKind
    reason: str


def _at_once(make: Callable[[Report], Dataset | None]) -> Maker:
    """A maker that takes a few seconds for a thousand slices, and so tells no progress."""
    return lambda report, _: make(report)


def _summary_page(report: Report) -> Dataset:
    return secondary_capture(report, summary_page(report))


MAKERS: dict[OutputKind, Maker] = {
    OutputKind.STRUCTURED_REPORT: structured_report,
    OutputKind.SUMMARY_PAGE: _at_once(_summary_page),
    OutputKind.QUALITY_MAPS: quality_map_capture,
    OutputKind.PARAMETRIC_MAP: _at_once(parametric_map),
    OutputKind.KEY_OBJECTS: _at_once(key_objects),
    OutputKind.PDF: _at_once(encapsulated_pdf),
    OutputKind.TEXT_REPORT: _at_once(text_report),
}
"""How each kind is made, in the order in which they are made and sent; None: there is nothing to show."""

_RESULT_KINDS = {
    kind: ResultKind.SECONDARY_CAPTURE if kind is OutputKind.SUMMARY_PAGE else ResultKind(kind.value)
    for kind in OutputKind
}


def uid_of(report: Report, kind: OutputKind) -> str:
    """The SOP Instance UID that the object of one kind has, made or not."""
    return instance_uid(report, _RESULT_KINDS[kind])


def make_output(
    report: Report, kind: OutputKind, progress: Progress, folder: Path | None = None
) -> MadeOutput | NotMade | None:
    """Make one object; None where there is nothing to show. `progress` gets the share done, every few seconds.

    A large one is encoded into a file in `folder`. Whatever goes wrong is logged, and told in the answer; but a full
    disk is no fault of the object, and raises OSError; and the structured report, without which a series has failed, is
    tried later when memory does not suffice, which raises MemoryError.
    """
    try:
        dataset = MAKERS[kind](report, progress)
        return None if dataset is None else MadeOutput(kind, dataset, _encode(dataset, folder))
    except Exception as error:  # whatever one object does to its maker, the others and the values must get through
        if isinstance(error, MemoryError) and kind is OutputKind.STRUCTURED_REPORT:
            raise
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        log.exception("object cannot be made", kind=kind, sop_instance=uid_of(report, kind))
        return NotMade(kind, f"{type(error).__name__}: {error}")


def _encode(dataset: Dataset, folder: Path | None) -> IO[bytes]:
    where = None if folder is None else str(folder)
    file = SpooledTemporaryFile(_MOST_IN_MEMORY, dir=where)  # noqa: SIM115  # whoever gets it closes it
    dcmwrite(file, dataset, enforce_file_format=True)
    file.seek(0)
    return file
