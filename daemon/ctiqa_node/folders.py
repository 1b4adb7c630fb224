"""Finding DICOM files in a folder, whatever they are called, and sorting them into series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

from ctiqa_node.ct import headers
from ctiqa_node.ct.selection import InstanceSummary, summarise
from ctiqa_node.errors import CtiqaError
from ctiqa_node.report.uids import is_own_result


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The DICOM files of a folder, in the order of their paths, and how many other files lie there."""

    dicom: tuple[Path, ...]
    others: int


def find_files(folder: Path) -> FoundFiles:
    """Look through a folder and all below it (or at one file) for DICOM files (PS3.10 7.1).

    A DICOMDIR counts among the others: it lists instances and is none.

    Raises:
        CtiqaError: a file cannot be read.
    """
    candidates = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    try:
        found = tuple(path for path in candidates if _is_instance(path))
    except OSError as error:
        raise CtiqaError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return FoundFiles(found, len(candidates) - len(found))


def _is_instance(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return False
    try:
        return read_file_meta_info(path).get("MediaStorageSOPClassUID") != MediaStorageDirectoryStorage
    except (InvalidDicomError, ValueError, EOFError):
        return True  # DICOM, but broken: whoever reads or sends it says what is wrong


@dataclass(slots=True)
class SeriesFiles:
    """The files of one series, each SOP Instance once, and the header of the first."""

    header: Dataset
    paths: list[Path] = field(default_factory=list)
    summaries: list[InstanceSummary] = field(default_factory=list)
    uids: set[str] = field(default_factory=set)


def group_by_series(paths: Sequence[Path]) -> tuple[list[SeriesFiles], int]:
    """Sort files into series, in the order in which they come; also how many cannot be read or name no series.

    Raises:
        OSError: a file cannot be opened.
    """
    found: dict[str, SeriesFiles] = {}
    unusable = 0
    for path in paths:
        try:
            header = headers.read_header(path)[0]
        except headers.UnreadableFileError:
            unusable += 1
            continue
        uid, instance = headers.text(header, "SeriesInstanceUID"), headers.text(header, "SOPInstanceUID")
        if not uid or not instance:
            unusable += 1
            continue
        series = found.setdefault(uid, SeriesFiles(header))
        if instance not in series.uids:
            series.uids.add(instance)
            series.paths.append(path)
            series.summaries.append(summarise(header, is_own_result=is_own_result(header)))
    return list(found.values()), unusable
