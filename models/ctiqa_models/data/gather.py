"""From the folders that a training was given to its Sources, one folder of each kind."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ctiqa_models.data.detect import Kind
from ctiqa_models.data.photos import photo_files
from ctiqa_models.data.slices import slice_files
from ctiqa_models.data.sources import Sources


def gather(found: Sequence[tuple[Kind, Path]], work: Path) -> Sources:
    """Sort folders by kind; several of training slices, pairs or photographs become one, of links, below `work`.

    DICOM files must have become training slices before. Raises ValueError for those, and for a rated data set that is
    given twice.
    """
    folders: dict[Kind, list[Path]] = {}
    for kind, folder in found:
        folders.setdefault(kind, []).append(folder.resolve())
    if Kind.DICOM in folders:
        raise ValueError(f"{folders[Kind.DICOM][0]} holds DICOM files, which the models do not read.")
    return Sources(
        slices=_one(folders, Kind.SLICES, work),
        photos=_one(folders, Kind.PHOTOS, work),
        kadid=_only(folders, Kind.KADID),
        ldctiqac=_only(folders, Kind.LDCTIQAC),
        pairs=_one(folders, Kind.PAIRS, work),
    )


def _only(folders: Mapping[Kind, list[Path]], kind: Kind) -> Path | None:
    given = folders.get(kind, [])
    if len(given) > 1:
        raise ValueError(f"{kind} was given more than once: {', '.join(map(str, given))}.")
    return given[0] if given else None


def _one(folders: Mapping[Kind, list[Path]], kind: Kind, work: Path) -> Path | None:
    given = folders.get(kind, [])
    if len(given) < 2:
        return given[0] if given else None
    which = zlib.crc32("\n".join(map(str, given)).encode())  # other folders another time must not mix with these
    joint = work / f"{kind.name.lower()}-{which:08x}"
    joint.mkdir(parents=True, exist_ok=True)
    for number, folder in enumerate(given, 1):
        for file in photo_files(folder) if kind is Kind.PHOTOS else slice_files(folder):
            link = joint / f"{number:02d}-{'-'.join(file.relative_to(folder).parts)}"
            if not link.is_symlink():
                link.symlink_to(file)
    return joint
