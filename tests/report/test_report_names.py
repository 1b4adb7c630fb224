"""Patient names of the world: kept byte for byte where the source is sound, valid where it is not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.filereader import read_dataset

from ctiqa_node.db.states import OutputKind
from ctiqa_node.making import MAKERS
from ctiqa_node.report.canvas import drawable, person_name
from ctiqa_node.report.content import unheeded
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.summary_page import summary_page

# Character set as declared (None: not at all), the bytes of the name, the name, what the page writes.
NAMES = {
    "japanese": (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\033$B;3ED\033(B^\033$BB@O:\033(B=\033$B$d$^$@\033(B^\033$B$?$m$&\033(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Yamada, Tarou",
    ),
    "korean": (
        b"\\ISO 2022 IR 149",
        b"Hong^Gildong=\033$)C\373\363^\033$)C\321\316\324\327=\033$)C\310\253^\033$)C\261\346\265\277",
        "Hong^Gildong=洪^吉洞=홍^길동",
        "Hong, Gildong",
    ),
    "russian": (b"ISO_IR 144", "Люксембург^Роза".encode("iso8859_5"), "Люксембург^Роза", "Люксембург, Роза"),
    "greek": (b"ISO_IR 126", "Διονυσιος^Α".encode("iso8859_7"), "Διονυσιος^Α", "Διονυσιος, Α"),
    "accented": (b"ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme", "Buc, Jérôme"),
    "utf-8": (b"ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東", "Wang, XiaoDong"),
    "chinese": (b"GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东", "Wang, XiaoDong"),
    "undeclared latin": (None, b"Buc^J\xe9r\xf4me", "Buc^Jérôme", "Buc, Jérôme"),
    "undeclared utf-8": (None, "Buc^Jérôme".encode(), "Buc^Jérôme", "Buc, Jérôme"),
    "unknown set": (b"LATIN-9000", b"Buc^J\xe9r\xf4me", "Buc^Jérôme", "Buc, Jérôme"),
}


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    tag = group.to_bytes(2, "little") + number.to_bytes(2, "little")
    return tag + vr + len(value).to_bytes(2, "little") + value


def header_in(character_set: bytes | None, name: bytes):
    data = b"" if character_set is None else _element(0x0008, 0x0005, b"CS", character_set)
    data += _element(0x0008, 0x0050, b"SH", b"ACC") + _element(0x0010, 0x0010, b"PN", name)
    data += _element(0x0020, 0x000D, b"UI", b"1.2.3\0") + _element(0x0020, 0x000E, b"UI", b"1.2.3.4\0")
    return read_dataset(BytesIO(data), is_implicit_VR=False, is_little_endian=True)


@pytest.fixture(params=list(NAMES))
def named(request, make_volume, make_report):
    character_set, raw, name, written = NAMES[request.param]
    return make_report(make_volume(3, header_in(character_set, raw))), raw, name, written


def _results(report):
    """All objects that the node makes, but the drawn ones with an empty page, which is quicker."""
    made = [
        make(report, unheeded) for kind, make in MAKERS.items() if kind not in (OutputKind.SUMMARY_PAGE, OutputKind.PDF)
    ]
    return [secondary_capture(report, np.zeros((8, 8, 3), dtype=np.uint8)), *(m for m in made if m is not None)]


def test_the_name_comes_back_and_its_bytes_are_those_of_the_source(named, request):
    report, raw, name, _ = named
    for result in _results(report):
        buffer = BytesIO()
        dcmwrite(buffer, result, enforce_file_format=True)
        again = dcmread(BytesIO(buffer.getvalue()))
        assert str(again.PatientName) == name
        assert again.AccessionNumber == "ACC"
        if "unknown set" not in request.node.name:  # such a name cannot stay as it was and be valid
            assert raw in buffer.getvalue()


def test_a_declared_character_set_is_kept(named, request):
    report, *_ = named
    declared = report.volume.headers[0].get("SpecificCharacterSet")
    if declared and "unknown set" not in request.node.name:
        assert structured_report(report).SpecificCharacterSet == declared


@pytest.mark.filterwarnings("error::UserWarning:matplotlib.*")
def test_the_page_writes_the_name_with_glyphs_that_exist(named):
    report, _, name, written = named
    summary_page(report)
    assert person_name(name) == written


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", "Name not given"),
        ("^^^^", "Name not given"),
        ("山田^太郎=山田^太郎", "Name in characters that this page cannot draw"),
        ("=王^小東", "Name in characters that this page cannot draw"),
        ("Doe^John^Quincy^Dr.^Jr.", "Doe, John Quincy"),
        ("Doe", "Doe"),
        ("$x$^{_^}", "$x$, {_ }"),
    ],
)
def test_names_on_the_page(name, written):
    assert person_name(name) == written


def test_text_without_glyphs_and_line_breaks_is_left_out():
    assert drawable("Thorax 山田\n2.0 質 mm") == "Thorax 2.0 mm"
