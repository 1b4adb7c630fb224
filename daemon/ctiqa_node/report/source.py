"""What a result takes over from its source series, and what marks it as ours: the same for every object we make."""

from __future__ import annotations

import re
import unicodedata
import warnings
from datetime import timedelta
from io import BytesIO

from highdicom import ContributingEquipment
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, TM

from ctiqa_node.report.content import Report
from ctiqa_node.report.uids import DEVICE_MODEL, UNREADABLE, ResultKind, derived_uid

UTF_8 = "ISO_IR 192"
LATIN_1 = "ISO_IR 100"

_TEXT_TAKEN_OVER = ("PatientName", "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName")
_TEXT_TAKEN_OVER_WHEN_THERE = ("IssuerOfPatientID", "StudyDescription")
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_SEXES = ("M", "F", "O")
_PLAIN = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "×": "x", "σ": "sigma", "µ": "u", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"'}
)


def plain(text: str) -> str:
    """Write a text of ours in ASCII, which every DICOM character set has, without the control characters."""
    ascii_text = unicodedata.normalize("NFKD", text.translate(_PLAIN)).encode("ascii", "ignore").decode()
    return "".join(c for c in ascii_text if c in "\n\r\t" or " " <= c <= "~").strip()


def source_uid(report: Report, keyword: str) -> str:
    """A UID of the source series' header; one derived from the first slice where the header lacks it."""
    value = text_of(report.volume.headers[0], keyword)
    return value or derived_uid(keyword, report.volume.sources[0].sop_instance_uid)


def text_of(header: Dataset, keyword: str) -> str:
    """An attribute as text; empty where it is absent, empty or unreadable. The first of several values counts."""
    try:
        value = header.get(keyword)
        if isinstance(value, MultiValue):
            value = next(iter(value), None)
        return "" if value is None else str(value).strip()
    except UNREADABLE:
        return ""


def patient_and_study(report: Report) -> Dataset:
    """The patient and study of the source, complete as results need it: absent or unusable values become empty.

    Text keeps the character set of the source. What that character set cannot encode moves the whole object to UTF-8.
    """
    header = report.volume.headers[0]
    result = Dataset()
    for keyword in _TEXT_TAKEN_OVER:
        setattr(result, keyword, text_of(header, keyword))
    for keyword in _TEXT_TAKEN_OVER_WHEN_THERE:
        if text_of(header, keyword):
            setattr(result, keyword, text_of(header, keyword))
    for keyword in ("PatientBirthDate", "StudyDate"):
        value = text_of(header, keyword).replace("-", "").replace(".", "")
        setattr(result, keyword, value if _is_date(value) else "")
    study_time = text_of(header, "StudyTime").replace(":", "")
    result.StudyTime = study_time if _TIME.fullmatch(study_time) else ""
    sex = text_of(header, "PatientSex").upper()
    result.PatientSex = sex if sex in _SEXES else ""
    result.StudyInstanceUID = source_uid(report, "StudyInstanceUID")
    character_set = _character_set(header, result)
    if character_set:
        result.SpecificCharacterSet = character_set
    return result


def dress(result: Dataset, report: Report, kind: ResultKind, description: str, number: int) -> None:
    """Write patient, study, series, equipment and times of a result in place; the same report, the same values."""
    identity = patient_and_study(report)
    result.update(identity)
    if "SpecificCharacterSet" not in identity and "SpecificCharacterSet" in result:
        del result.SpecificCharacterSet
    result.SeriesDescription = description
    result.SeriesNumber = number
    result.InstanceNumber = report.revision
    result.Manufacturer = DEVICE_MODEL
    result.ManufacturerModelName = DEVICE_MODEL
    result.SoftwareVersions = plain(report.device.software_version)[:64]
    result.DeviceSerialNumber = plain(report.device.ae_title)[:64]
    if report.device.station_name:
        result.StationName = plain(report.device.station_name)[:16]
    _stamp(result, report)
    result.ContributingEquipmentSequence = [_our_contribution(report, kind)]


def _stamp(result: Dataset, report: Report) -> None:
    day, time = DA(report.assessed_at.date()), TM(report.assessed_at.time().replace(microsecond=0, tzinfo=None))
    # No Series Date and Time: they would differ between the revisions that share a series.
    for moment in ("InstanceCreation", "Content"):
        setattr(result, f"{moment}Date", day)
        setattr(result, f"{moment}Time", time)
    result.TimezoneOffsetFromUTC = _offset(report.assessed_at.utcoffset() or timedelta())


def _offset(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _our_contribution(report: Report, kind: ResultKind) -> Dataset:
    return ContributingEquipment(
        manufacturer=DEVICE_MODEL,
        manufacturer_model_name=DEVICE_MODEL,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        software_versions=plain(report.device.software_version)[:64],
        contribution_datetime=report.assessed_at.replace(microsecond=0),
        contribution_description=f"CT image quality assessment ({kind.value})",
    )


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        DA(value)
    except UNREADABLE:
        return False
    return True


def _character_set(header: Dataset, identity: Dataset) -> str | list[str]:
    """The source's own character set where it is a known one and holds the identity's texts, else UTF-8."""
    terms = _declared(header)
    if terms in ([], ["ISO_IR 6"]):
        return _guessed(identity)
    try:
        with warnings.catch_warnings():
            # pydicom only warns of an unknown term, or of a text that it would write with question marks.
            warnings.simplefilter("error")
            survives = _survives(identity, terms)
    except (*UNREADABLE, UserWarning):
        return UTF_8
    if not survives:
        return UTF_8
    return terms if len(terms) > 1 else terms[0]


def _declared(header: Dataset) -> list[str]:
    try:
        declared = header.get("SpecificCharacterSet") or ""
        terms = [declared] if isinstance(declared, str) else [str(term) for term in declared]
    except UNREADABLE:
        return []
    return terms if any(terms) else []


def _guessed(identity: Dataset) -> str:
    """Declare what a source left undeclared, in place: UTF-8 where all texts are valid UTF-8, else Latin-1.

    The bytes stay what they were (pydicom reads undeclared text as Latin-1), but become valid, and often readable.
    """
    texts = {k: str(identity.get(k) or "") for k in (*_TEXT_TAKEN_OVER, *_TEXT_TAKEN_OVER_WHEN_THERE)}
    if all(text.isascii() for text in texts.values()):
        return ""
    try:
        decoded = {keyword: text.encode("latin-1").decode("utf-8") for keyword, text in texts.items()}
    except UnicodeDecodeError:
        return LATIN_1
    except UnicodeEncodeError:  # not read from a file, but written into the header as text
        return UTF_8
    for keyword, text in decoded.items():
        if text:
            setattr(identity, keyword, text)
    return UTF_8


def _survives(identity: Dataset, terms: list[str]) -> bool:
    """Tell whether the texts come back the same after being written in a character set and read again."""
    trial = Dataset()
    trial.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]
    for keyword in (*_TEXT_TAKEN_OVER, *_TEXT_TAKEN_OVER_WHEN_THERE):
        setattr(trial, keyword, identity.get(keyword, ""))
    buffer = BytesIO()
    dcmwrite(buffer, trial, implicit_vr=False, little_endian=True, enforce_file_format=False)
    buffer.seek(0)
    again = dcmread(buffer, force=True)
    return all(str(again.get(element.tag).value or "") == str(element.value or "") for element in trial)
