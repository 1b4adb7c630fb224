"""The page on codes stays true."""

from __future__ import annotations

from pathlib import Path

from ctiqa_node.report import codes
from ctiqa_node.report.code_table import as_markdown, evaluation_lines, measurement_lines, other_lines, value_lines

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "codes.md").read_text()


def test_the_page_prints_the_tables_of_the_code() -> None:
    for heading, lines in (
        (("in `results --json`", "how to read it"), measurement_lines()),
        (("in `results --json`", "what it says"), evaluation_lines()),
        (("evaluation", "word in `results --json`"), value_lines()),
        (("object", "what it says"), other_lines()),
    ):
        assert as_markdown(heading, lines) in PAGE


def test_no_two_things_share_a_code_of_ours() -> None:
    ours = [
        (line.where if lines is value_lines else "", line.code.value)
        for lines in (measurement_lines, evaluation_lines, value_lines, other_lines)
        for line in lines()
        if line.code.scheme_designator == codes.PRIVATE_SCHEME
    ]
    assert len(set(ours)) == len(ours)
    assert len({value for _, value in ours}) == len(ours)
