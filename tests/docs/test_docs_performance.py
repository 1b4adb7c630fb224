"""The page on performance prints the committed results, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench.curves import curve, draw
from bench.figures import LEAST_ROUNDS, Line, Machine, Measured, Point, Run, at_least, at_most, compared, counted
from bench.page import PAGE, RESULTS, blocks, filled, results, shown
from bench.slices import SlicesOnDisk
from bench.tables import markdown
from PIL import Image
from pydicom import dcmread

from support.slices import ct_files

TEXT = PAGE.read_text(encoding="utf-8")


def measured(*values: float) -> Measured:
    return Measured(unit="s", values=values)


def test_the_tables_are_what_the_committed_results_say() -> None:
    runs = results()
    for name, block in blocks(TEXT).items():
        expected = f"\n{shown(runs[name])}\n\n" if name in runs else "\n"
        assert block == f"<!-- bench: {name} -->{expected}<!-- end -->"


def test_every_committed_result_has_a_place_in_the_page_and_its_name_as_file_name() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} == set(results()) <= set(blocks(TEXT))


def test_a_page_that_was_changed_by_hand_is_noticed() -> None:
    changed = "<!-- bench: database -->\nmade up\n<!-- end -->"
    machine = Machine(processor="some", cores=2, memory_gib=8, system="Linux", load_before=0)
    run = Run(
        name="database", title="", at=datetime.now(UTC), seconds=1, machine=machine, versions={"SQLite": "3"},
        lines=(counted("queries", 3, ""),),
    )  # fmt: skip
    assert markdown(run) in filled(changed, {"database": run})
    assert "made up" not in filled(changed, {"database": run})
    assert filled(changed, {}) == changed


def test_every_line_that_was_timed_was_timed_often_enough() -> None:
    with pytest.raises(ValueError, match="5 are needed"):
        compared("quick", measured(1.0))
    for run in results().values():
        for line in run.lines:
            assert line.measured is None or len(line.measured.values) in {1, *range(LEAST_ROUNDS, 100)}


def test_a_ratio_is_taken_round_by_round() -> None:
    base = compared("theirs", measured(1.0, 1.0, 4.0, 1.0, 1.0))
    line = compared("ours", measured(2.0, 2.0, 8.0, 2.0, 2.0), base, at_least(2))
    assert line.ratio is not None
    assert set(line.ratio.values) == {2.0}
    assert line.met


@pytest.mark.parametrize(("limit", "met"), [(0.29, False), (0.3, True)])
def test_a_target_is_met_at_its_limit_and_missed_beyond(limit: float, met: bool) -> None:
    line: Line = counted("answer", 0.3, "s", at_most(limit, "value"))
    assert line.met is met


def test_slices_that_are_renewed_are_another_series_with_the_same_pixels(tmp_path: Path) -> None:
    paths = ct_files(tmp_path, 3)
    before = [dcmread(path) for path in paths]
    series = SlicesOnDisk(paths).renew()
    after = [dcmread(path) for path in paths]
    assert {dataset.SeriesInstanceUID for dataset in after} == {series}
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert not {dataset[keyword].value for dataset in before} & {dataset[keyword].value for dataset in after}
    assert len({dataset.SOPInstanceUID for dataset in after}) == 3
    for old, new in zip(before, after, strict=True):
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
        assert (new.pixel_array == old.pixel_array).all()


def test_the_figure_is_drawn_of_the_lines_that_have_a_place_in_it(tmp_path: Path) -> None:
    lines = [
        Line(what=f"{curve} {at}", measured=Measured(unit="", values=(2.0 * at, at)), point=Point(curve=curve, at=at))
        for curve in ("time", "worker", "receiver")
        for at in (300, 30, 100)
    ]
    machine = Machine(processor="some", cores=2, memory_gib=8, system="Linux", load_before=0)
    run = Run(
        name="turnaround", title="", at=datetime.now(UTC), seconds=1, machine=machine, versions={},
        lines=(*lines, counted("another", 3, "")),
    )  # fmt: skip
    assert curve(run, "time") == [(30, 45, 30, 60), (100, 150, 100, 200), (300, 450, 300, 600)]
    draw(run, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > 2 * picture.height
