"""After a whole day in the life of a node: no patient in its log, and its folder is for its owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from archives import free_port
from pydicom import dcmread

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import send
from support.running_node import RunningNode
from support.series import MakeSeries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BIRTH_DATE = "19501231"
PATIENT = {"patient_name": "Geheim^Gerda", "patient_id": "PAT-GEHEIM-77", "accession_number": "ACC-GEHEIM-9"}
SECRETS = (*PATIENT.values(), "Geheim", "Gerda", "GEHEIM", BIRTH_DATE, "1950-12-31")


def change(path: Path, **values: object) -> Path:
    dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_no_patient_is_in_the_log_and_nobody_else_may_look_into_the_folder(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    nowhere = ApplicationEntity("NOWHERE", "127.0.0.1", free_port())
    quick = {"assessors": ["snr", "noise_level"]}
    with RunningNode(tmp_path / "node", [("dead", nowhere)], worker=quick, ledger={"backup_every_hours": 1}) as node:
        (node.state).chmod(0o755)
        good = [change(path, PatientBirthDate=BIRTH_DATE) for path in make_series(8, **PATIENT)]
        bad = [change(path, PatientBirthDate=BIRTH_DATE, PixelSpacing=None) for path in make_series(8, **PATIENT)]
        short = make_series(2, **PATIENT)
        assert all(answer.ok for answer in send(node.peer, "SENDER", [*good, *bad, *short], 5))
        node.wait_for_end(3, ended={"analysed", "undelivered", "skipped", "failed"})
        again = [good[0], change(good[1], PatientComments="another content")]
        no_uid = change(make_series(1, **PATIENT)[0], StudyInstanceUID="Geheim^Gerda")
        answers = [answer.ok for answer in send(node.peer, "SENDER", [*again, no_uid], 5)]
        assert answers == [True, True, False]
        for words in (["why", PATIENT["accession_number"]], ["results", PATIENT["patient_id"]], ["queue", "ls"]):
            assert node.run(*words).returncode == 0
        assert node.run("reconcile").returncode == 0
        node.kill()
        node.start()
        log = node.log()
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [node.state, *node.state.rglob("*")]}
        told = node.run("audit", "--csv").stdout + node.run("status").stdout.split("Last results")[0]
    assert "series skipped" in log
    assert "series cannot be assessed" in log
    assert not [line for line in log.splitlines() if any(secret in line for secret in SECRETS)]
    assert not [secret for secret in SECRETS if secret in told]
    wrong = {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert wrong == {}
