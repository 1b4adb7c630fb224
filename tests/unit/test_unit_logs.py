"""Logs: JSON for machines, and no patient in them at INFO or above."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.logs import get_logger
from support.peers import associated, contexts_for, request, store, store_encoded
from support.reception import Reception
from support.slices import ct_datasets, part10, peers_bytes
from support.waiting import eventually

SECRET = "Xyzzyname"
SECRET_ID = "XYZZY-4711"


def _records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_away_from_a_terminal_each_line_is_json_with_time_level_and_logger(
    capsys: pytest.CaptureFixture[str], configure_logs: Callable[..., None]
) -> None:
    configure_logs()
    get_logger("ctiqa_node.test").info("something happened", series="1.2.3", count=2)
    (record,) = _records(capsys.readouterr().err)
    assert (record["event"], record["level"], record["logger"]) == ("something happened", "info", "ctiqa_node.test")
    assert (record["series"], record["count"]) == ("1.2.3", 2)
    assert str(record["timestamp"]).endswith("Z")


def test_what_is_below_the_level_is_not_written(
    capsys: pytest.CaptureFixture[str], configure_logs: Callable[..., None]
) -> None:
    configure_logs(level="warning")
    get_logger("quiet").info("not this")
    get_logger("quiet").warning("but this")
    assert [record["event"] for record in _records(capsys.readouterr().err)] == ["but this"]


def test_libraries_log_in_the_same_form(
    capsys: pytest.CaptureFixture[str], configure_logs: Callable[..., None]
) -> None:
    configure_logs(format="json")
    logging.getLogger("sqlalchemy").warning("from %s", "a library")
    (record,) = _records(capsys.readouterr().err)
    assert (record["event"], record["logger"]) == ("from a library", "sqlalchemy")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_an_exception_is_logged_with_its_traceback_and_without_local_variables(
    capsys: pytest.CaptureFixture[str], configure_logs: Callable[..., None], format_: str
) -> None:
    configure_logs(format=format_)
    patient_name = "".join(["Xyzzy", "name"])
    try:
        raise ZeroDivisionError(len(patient_name))
    except ZeroDivisionError:
        get_logger("failing").exception("it failed")
    written = capsys.readouterr().err
    assert "ZeroDivisionError" in written
    assert "test_unit_logs.py" in written
    assert SECRET not in written


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_patient_is_in_the_log_whatever_is_received(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], configure_logs: Callable[..., None], format_: str
) -> None:
    configure_logs(format=format_)
    tags = SeriesTags(patient_name=f"{SECRET}^Given", patient_id=SECRET_ID)
    datasets = ct_datasets(tmp_path / "ct", 6, tags=tags)
    with Reception(tmp_path / "node") as reception:
        store(reception.port, datasets[:5])
        store(reception.port, datasets[:1])
        other = pydicom.dcmread(BytesIO(part10(datasets[0])))
        other.InstanceNumber = 77
        store(reception.port, [other])
        request(reception.port, called="WRONG")
        with associated(reception.port, contexts_for(datasets)) as association:
            mismatched = store_encoded(association, peers_bytes(part10(datasets[5])), "1.2.3")
        assert mismatched.Status == 0xA900
        eventually(reception.ingest.close_quiet_series)
    captured = capfd.readouterr()
    written = captured.out + captured.err
    for event in ("association opened", "association rejected", "instance refused", "series complete", "kept apart"):
        assert event in written
    assert SECRET not in written
    assert SECRET_ID not in written


def test_a_value_that_pydicom_dislikes_is_not_quoted_save_for_debugging(
    capsys: pytest.CaptureFixture[str], configure_logs: Callable[..., None]
) -> None:
    for level, told in (("info", False), ("debug", True)):
        configure_logs(level=level)
        pydicom.Dataset().StudyInstanceUID = SECRET
        assert (SECRET in capsys.readouterr().err) is told


def test_recurring_work_is_not_logged_each_second(
    configure_logs: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(format="json", level="info")
    logging.getLogger("apscheduler.executors.default").info("Job executed successfully")
    assert capsys.readouterr().err == ""
