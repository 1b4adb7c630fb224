"""Real series, sent with dcmtk's storescu to a node that is a process, arriving in a real Orthanc."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from ctiqa_node.dicom import ApplicationEntity
from support.running_node import FOUR_MODELS, RunningNode

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(600)]

_PROPOSAL = {JPEGLSLossless: "-xt", JPEG2000Lossless: "-xv"}
"""How storescu is told to propose a compressed transfer syntax."""
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def storescu(peer: ApplicationEntity, folder: Path) -> None:
    """Send a folder as an admin would, in the syntax that its files have."""
    syntax = dcmread(sorted(folder.iterdir())[0], stop_before_pixels=True).file_meta.TransferSyntaxUID
    proposal = [_PROPOSAL[syntax]] if syntax in _PROPOSAL else []
    subprocess.run(
        ["storescu", *proposal, "-aec", peer.ae_title, "+sd", "+r", peer.host, str(peer.port), str(folder)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, archive: Orthanc) -> Iterator[RunningNode]:
    with RunningNode(tmp_path_factory.mktemp("node"), [("orthanc", archive.peer)]) as running:
        yield running


def numbers_of(report: Dataset) -> dict[str, float]:
    """The numbers of the whole series in a report: code value of the concept → value."""
    (group,) = [
        group
        for container in _children(report, "126010")
        for group in _children(container, "125007")
        if _children(group, "121112")
    ]
    found = {}
    for item in group.ContentSequence:
        if item.ValueType == "NUM":
            found[item.ConceptNameCodeSequence[0].CodeValue] = float(item.MeasuredValueSequence[0].NumericValue)
    return found


def _children(item: Dataset, code: str) -> list[Dataset]:
    return [
        child
        for child in item.get("ContentSequence", [])
        if child.get("ConceptNameCodeSequence") and child.ConceptNameCodeSequence[0].CodeValue == code
    ]


def check_archived(archive: Orthanc, result: dict[str, Any]) -> None:
    """Report and summary page lie under the series' study, and the report says what `results --json` says."""
    assert result["state"] == "delivered"
    outputs = {output["kind"]: output for output in result["outputs"]}
    assert outputs["sr"]["sop_class_uid"] == COMPREHENSIVE_SR
    assert outputs["summary"]["sop_class_uid"] == SECONDARY_CAPTURE
    for output in outputs.values():
        instances = archive.find("Instance", {"SOPInstanceUID": output["sop_instance_uid"]})
        assert len(instances) == 1
        dataset = dcmread(BytesIO(archive.fetch(output["sop_instance_uid"])))
        assert dataset.StudyInstanceUID == result["study_instance_uid"]
        assert dataset.PatientID == result["patient_id"]
        if output["kind"] == "sr":
            reported = numbers_of(dataset)
    recorded = {m["name"]: m["value"] for model in result["models"] for m in model["measurements"]}
    assert recorded, "no value was recorded"
    assert sorted(reported.values()) == pytest.approx(sorted(recorded.values()), rel=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "abdomen-ge-standard", "abdomen-siemens-b30s", "chest-ge-lung", "chest-siemens-b31f", "head-phantom-philips-ub",
    ],
)  # fmt: skip
def test_a_real_series_arrives_as_report_and_summary(
    ctiqa_data: Path, node: RunningNode, archive: Orthanc, name: str
) -> None:
    folder = ctiqa_data / "series" / name
    uid = str(dcmread(next(folder.iterdir()), stop_before_pixels=True).SeriesInstanceUID)
    storescu(node.peer, folder)
    node.wait_for_end(1, seconds=240)
    (result,) = node.ask("results", uid)
    assert result["instances"] == len(list(folder.iterdir()))
    check_archived(archive, result)


@pytest.mark.data
def test_three_series_from_three_senders_at_once(ctiqa_data: Path, tmp_path: Path) -> None:
    folders = [
        ctiqa_data / "series" / name for name in ("abdomen-ge-standard", "abdomen-siemens-b30s", "chest-ge-lung")
    ]
    with (
        Orthanc(tmp_path / "orthanc") as own_archive,
        RunningNode(tmp_path / "node", [("a", own_archive.peer)], worker=FOUR_MODELS) as node,
    ):
        peer = node.peer
        with ThreadPoolExecutor(3) as senders:
            list(senders.map(lambda folder: storescu(peer, folder), folders))
        results = node.wait_for_end(3, seconds=240)
        assert sorted(r["instances"] for r in results) == sorted(len(list(f.iterdir())) for f in folders)
        for result in results:
            (whole,) = node.ask("results", result["series_instance_uid"])
            check_archived(own_archive, whole)
        assert len(own_archive.find("Instance", {})) == 6
