"""Simulated series to real archives: compressed and enhanced ones, late slices, an archive that is down."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from archives import Orthanc, free_port
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from ctiqa_node.ct.enhanced_writer import write_enhanced
from ctiqa_node.ct.writer import write_series
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import send
from support.running_node import FOUR_MODELS, RunningNode
from support.series import MakeSeries
from support.waiting import eventually

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(300)]

SPACING = (5.0, 1.6, 1.6)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def send_all(node: RunningNode, paths: list[Path]) -> None:
    answers = list(send(node.peer, "SENDER", paths, 5))
    assert [answer.sentence for answer in answers] == ["Success"] * len(paths)


def test_the_values_of_compressed_and_enhanced_ct_are_those_of_the_plain_series(
    simulated_hu: npt.NDArray[np.float32], archive: Orthanc, tmp_path: Path
) -> None:
    plain = write_series(simulated_hu, SPACING, tmp_path / "plain")
    compressed = write_series(simulated_hu, SPACING, tmp_path / "compressed", transfer_syntax=JPEGLSLossless)
    enhanced = [write_enhanced(simulated_hu, SPACING, tmp_path / "enhanced.dcm")]
    with RunningNode(tmp_path / "node", [("orthanc", archive.peer)], worker=FOUR_MODELS) as node:
        for paths in (plain, compressed, enhanced):
            send_all(node, paths)
        results = node.wait_for_end(3)
        assert [series["state"] for series in results] == ["delivered"] * 3
        values = [{m["name"]: m["value"] for model in s["models"] for m in model["measurements"]} for s in results]
        assert values[0]
        assert values[1] == pytest.approx(values[0])
        assert values[2] == pytest.approx(values[0])
        for series in results:
            for output in series["outputs"]:
                stored = dcmread(BytesIO(archive.fetch(output["sop_instance_uid"])))
                assert stored.StudyInstanceUID == series["study_instance_uid"]


def test_late_slices_make_a_new_revision(make_series: MakeSeries, archive: Orthanc, tmp_path: Path) -> None:
    paths = make_series(12)
    with RunningNode(tmp_path / "node", [("orthanc", archive.peer)], worker=FOUR_MODELS) as node:
        send_all(node, paths[:8])
        (first,) = node.wait_for_end(1)
        send_all(node, paths[8:])
        eventually(lambda: node.ask("results")[0]["revision"] == 2, 90)
        (second,) = node.wait_for_end(1)
        assert (first["instances"], second["instances"]) == (8, 12)
        told = " ".join(node.run("why", second["series_instance_uid"]).stdout.split())
        assert "delivered → stale" in told
        fetched = {output["sop_instance_uid"] for series in (first, second) for output in series["outputs"]}
        assert len(fetched) == 4
        assert all(archive.fetch(uid) for uid in fetched)


def test_an_archive_that_is_down_costs_time_and_holds_up_no_other(
    make_series: MakeSeries, archive: Orthanc, tmp_path: Path
) -> None:
    late_port = free_port()
    late = ApplicationEntity("ORTHANC", "127.0.0.1", late_port)
    with RunningNode(tmp_path / "node", [("live", archive.peer), ("late", late)], worker=FOUR_MODELS) as node:
        send_all(node, make_series(6))

        def sent_to(name: str) -> bool:
            results = node.ask("results")
            return bool(results) and [o["deliveries"][name] for o in results[0]["outputs"]] == ["sent", "sent"]

        eventually(lambda: sent_to("live"), 90)
        assert not sent_to("late")
        status = eventually(lambda: (s := node.status())["destinations"][1]["last_trouble"] and s, 20)
        assert status["verdict"] == 1
        assert any(complaint.startswith("late: 2 waiting") for complaint in status["complaints"])
        with Orthanc(tmp_path / "late", dicom_port=late_port) as late_archive:
            (result,) = node.wait_for_end(1)
            assert result["state"] == "delivered"
            assert len(late_archive.find("Instance", {})) == 2
        eventually(lambda: node.run("status").returncode == 0, 20)
