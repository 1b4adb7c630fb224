"""The golden series: a simulated scan that every node assesses itself and compares with the values that ship.

Broken weights, a changed driver or library that moves the numbers is found before a wrong number is sent. The values
are in `golden.json` beside this file; `python -m ctiqa_node.golden` makes it anew when weights or models have changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Heartbeat
from ctiqa_node.golden_result import PROCESS as PROCESS
from ctiqa_node.golden_result import GoldenResult as GoldenResult
from ctiqa_node.golden_result import last_result as last_result
from ctiqa_node.logs import get_logger

if TYPE_CHECKING:
    from ctiqa_node.analysis import Analyst
    from ctiqa_node.report.content import ReportedModel

log = get_logger(__name__)

VALUES = Path(__file__).parent / "golden.json"
RELATIVE, ABSOLUTE = 0.02, 0.005
"""Above what another processor, another number of threads or a GPU make of the same weights, below what matters."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GoldenValue(_Frozen):
    """One number of the golden series, with its unit as in `results --json`; `slice` is None for the whole series."""

    name: str
    slice: int | None
    value: float


class GoldenModel(_Frozen):
    """What one model says of the golden series."""

    name: str
    version: str
    weights_sha256: str | None
    values: tuple[GoldenValue, ...]
    classes: dict[str, str]
    """The likeliest class of each classification."""


class Golden(_Frozen):
    """The shipped values: a value may differ by `absolute` plus `relative` times itself; a class must be the same."""

    relative: float
    absolute: float
    models: tuple[GoldenModel, ...]


def shipped(path: Path = VALUES) -> Golden:
    """The values that ship."""
    return Golden.model_validate_json(path.read_text(encoding="utf-8"))


def check(analyst: Analyst, golden: Golden | None = None) -> GoldenResult:
    """Assess the golden series now, and compare."""
    return compare(golden or shipped(), analyst.assess_golden(), analyst.device)


def compare(golden: Golden, found: Sequence[ReportedModel], device: str) -> GoldenResult:
    """Compare what models say of the golden series with the shipped values; models that were not asked are left out."""
    known = {model.name: model for model in golden.models}
    drifts: list[str] = []
    compared, others = [], []
    for model in found:
        expected = known.get(model.name)
        unusable = model.weights_sha256 is None and expected is not None and expected.weights_sha256 is not None
        if expected is None or (model.weights_sha256 != expected.weights_sha256 and not unusable):
            others.append(model.name)
            continue
        compared.append(model.name)
        drifts.extend(_drifts(golden, expected, model))
    return GoldenResult(
        ok=not drifts,
        device=device,
        compared=tuple(compared),
        not_compared=tuple(others),
        drifts=tuple(drifts),
        at=now(),
    )


def _drifts(golden: Golden, expected: GoldenModel, found: ReportedModel) -> Iterator[str]:
    values = {(m.name, m.slice_index): m.value for m in found.measurements}
    if expected.values and not values:
        yield f"{expected.name} gives no value: {found.reason}"
        return
    for value in expected.values:
        where = f"{expected.name} {value.name}" + ("" if value.slice is None else f" of slice {value.slice + 1}")
        number = values.get((value.name, value.slice))
        if number is None:
            yield f"{where} is missing"
        elif not abs(number - value.value) <= golden.absolute + golden.relative * abs(value.value):
            yield f"{where} is {number:.4g} and should be {value.value:.4g}"
    likeliest = _likeliest(found)
    for name, label in expected.classes.items():
        if likeliest.get(name) != label:
            yield f"{expected.name} {name} is {likeliest.get(name)} and should be {label}"


def _likeliest(model: ReportedModel) -> dict[str, str]:
    ordered = sorted(model.classifications, key=lambda each: each.probability)
    return {each.name: each.label for each in ordered}


def record(database: Database, result: GoldenResult) -> None:
    """Keep the result for whoever sends, and for `status`."""
    with database.write() as session:
        session.merge(
            Heartbeat(
                process=PROCESS, pid=os.getpid(), started_at=result.at, at=result.at,
                detail=result.model_dump(mode="json"),
            )
        )  # fmt: skip
    (log.info if result.ok else log.error)("golden series assessed", ok=result.ok, result=result.sentence)


def forget(database: Database) -> None:
    """Remove the last result: nobody checks any more."""
    with database.write() as session:
        row = session.get(Heartbeat, PROCESS)
        if row is not None:
            session.delete(row)


def values_of(found: Sequence[ReportedModel], relative: float, absolute: float) -> Golden:
    """What ships, made of what the models say now."""
    return Golden(
        relative=relative,
        absolute=absolute,
        models=tuple(
            GoldenModel(
                name=model.name,
                version=model.version,
                weights_sha256=model.weights_sha256,
                values=tuple(
                    GoldenValue(name=m.name, slice=m.slice_index, value=float(f"{m.value:.6g}"))
                    for m in model.measurements
                ),
                classes=_likeliest(model),
            )
            for model in found
        ),
    )


def main() -> None:
    """Assess the golden series on the CPU with all models that ship, and write their values where they ship."""
    from ctiqa_node.analysis import Analyst

    made = values_of(Analyst("cpu", None).assess_golden(), relative=RELATIVE, absolute=ABSOLUTE)
    VALUES.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{VALUES}: {sum(len(model.values) for model in made.models)} values\n")


if __name__ == "__main__":
    main()
