"""The table of objects in the conformance statement is what the makers make."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom.uid import UID, Comprehensive3DSRStorage

from ctiqa_node.report.encapsulated_pdf import encapsulated_pdf
from ctiqa_node.report.key_objects import key_objects
from ctiqa_node.report.parametric_map import parametric_map
from ctiqa_node.report.quality_maps import quality_map_capture
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.summary_page import summary_page
from ctiqa_node.report.text_report import text_report

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance.md").read_text()
ROW = re.compile(r"^\| ([\w ]+) \| ([\w -]+) \| `(1\.2\.840[0-9.]+)` \| (\w+) \| (\d+) \|$", re.MULTILINE)


def test_the_table_of_objects_is_what_is_made(make_report, make_volume):
    report = make_report(make_volume(2))
    made = {
        "structured report": structured_report(report),
        "summary page": secondary_capture(report, summary_page(report)),
        "quality maps": quality_map_capture(report),
        "parametric map": parametric_map(report),
        "key objects": key_objects(report),
        "PDF": encapsulated_pdf(report),
        "text report": text_report(report),
    }
    assert Comprehensive3DSRStorage not in {each.SOPClassUID for each in made.values()}
    rows = {name: tuple(others) for name, *others in ROW.findall(PAGE)}
    assert rows == {
        name: (UID(o.SOPClassUID).name, o.SOPClassUID, o.Modality, str(o.SeriesNumber)) for name, o in made.items()
    }
