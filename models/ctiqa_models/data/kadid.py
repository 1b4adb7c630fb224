"""KADID-10k: 10,125 distorted photographs of 81 pristine ones, each with the mean opinion of about 30 people.

Lin, Hosu & Saupe, QoMEX 2019, doi:10.1109/QoMEX.2019.8743252. The data set is a folder with `images/` (references
`I01.png` … and distorted pictures `I01_05_03.png`: reference, distortion, level) and `dmos.csv`. Its column `dmos` is
a mean opinion of quality from 1 (bad) to 5 (excellent): more is better, other than its name says.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ctiqa_models.data.scores import checked_score

IMAGES = "images"
SCORES = "dmos.csv"
LOWEST_SCORE, HIGHEST_SCORE = 1.0, 5.0
_COLUMNS = ("dist_img", "ref_img", "dmos")


@dataclass(frozen=True, slots=True)
class RatedPhoto:
    """One distorted photograph, the name of its reference (`I01`, which decides the side of the split), its score."""

    file: Path
    reference: str
    score: float


def read_kadid(folder: Path) -> list[RatedPhoto]:
    """All distorted photographs, in the order of the table.

    No split was published with the data: give `split.is_held_out` the reference, so that no picture is on both sides.
    Raises ValueError that names the file and the line: a column is missing, a score is no number or outside 1–5, an
    image is not there, or the table is empty.
    """
    table = folder / SCORES
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{table} has no column {', '.join(missing)}; KADID-10k's has {', '.join(_COLUMNS)}, var.")
        rated = [_rated(folder, row, f"{table}, line {reader.line_num}") for row in reader]
    if not rated:
        raise ValueError(f"{table} lists no images; unpack KADID-10k again.")
    return rated


def _rated(folder: Path, row: dict[str, str | None], where: str) -> RatedPhoto:
    name, reference = row["dist_img"] or "", row["ref_img"] or ""
    file = folder / IMAGES / name
    if not name or not file.is_file():
        raise ValueError(f"{where}: there is no image {file}; unpack KADID-10k again, or take the line out.")
    return RatedPhoto(file, Path(reference).stem, checked_score(row["dmos"], LOWEST_SCORE, HIGHEST_SCORE, where))
