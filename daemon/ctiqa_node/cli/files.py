"""Finding DICOM files in a folder, whatever they are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

from ctiqa_node.errors import CtiqaError


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
