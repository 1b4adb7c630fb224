"""Bad series, one after the other, to one running node: each gets a sentence, and none harms the good one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from ctiqa_node.dimse.storage_scu import send
from support.running_node import RunningNode
from support.series import MakeSeries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Change = Callable[[int, Dataset], None]


def without(keyword: str) -> Change:
    def change(index: int, dataset: Dataset) -> None:
        delattr(dataset, keyword)

    return change


def zero_rows(index: int, dataset: Dataset) -> None:
    dataset.Rows = 0


def two_orientations(index: int, dataset: Dataset) -> None:
    if index % 2:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.95, 0.3122]


def truncated(index: int, dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


def one_truncated(index: int, dataset: Dataset) -> None:
    if index == 3:
        truncated(index, dataset)


def magnetic_resonance(index: int, dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.Modality = "MR"


def localizer(index: int, dataset: Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def reformat(index: int, dataset: Dataset) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]


CASES: dict[str, tuple[Change, str, str]] = {
    "no pixel spacing": (without("PixelSpacing"), "failed", "Pixel Spacing"),
    "no position": (without("ImagePositionPatient"), "failed", "Image Position"),
    "zero rows": (zero_rows, "failed", "rows"),
    "two orientations": (two_orientations, "failed", "orientation"),
    "all truncated": (truncated, "failed", "pixel data"),
    "one truncated": (one_truncated, "analysed", ""),
    "not CT": (magnetic_resonance, "skipped", "MR"),
    "localizer": (localizer, "skipped", "ocalizer"),
    "reformat": (reformat, "skipped", "derived"),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with RunningNode(tmp_path_factory.mktemp("node"), worker={"assessors": ["snr", "noise_level"]}) as running:
        yield running


def spoil(paths: list[Path], change: Change) -> None:
    for index, path in enumerate(paths):
        dataset = dcmread(path)
        change(index, dataset)
        dataset.save_as(path, enforce_file_format=True)


def test_bad_series_get_a_sentence_and_the_good_one_is_assessed(node: RunningNode, make_series: MakeSeries) -> None:
    expected: dict[str, tuple[str, str]] = {}
    for name, (change, state, words) in CASES.items():
        paths = make_series(8, series_description=name)
        spoil(paths, change)
        expected[name] = (state, words)
        assert all(answer.ok for answer in send(node.peer, "SENDER", paths, 5)), name
    for name, slices, state, words in [("one slice", 1, "skipped", "1"), ("good", 8, "analysed", "")]:
        expected[name] = (state, words)
        assert all(answer.ok for answer in send(node.peer, "SENDER", make_series(slices, series_description=name), 5))
    ended = {"analysed", "skipped", "failed"}
    results = node.wait_for_end(len(expected), seconds=200, ended=ended)
    found = {series["description"]: (series["state"], series["reason"] or "") for series in results}
    assert {name: state for name, (state, _) in found.items()} == {name: state for name, (state, _) in expected.items()}
    for name, (_, words) in expected.items():
        assert words.lower() in found[name][1].lower(), f"{name}: {found[name][1]}"
    for name in CASES:
        story = node.run("why", next(s["series_instance_uid"] for s in results if s["description"] == name))
        assert story.returncode == 0
        assert "8 instances from SENDER" in " ".join(story.stdout.split())
    assert node.ask("status")["worker"]["alive"]


def test_own_results_sent_back_are_kept_and_skipped(node: RunningNode, make_series: MakeSeries) -> None:
    uid = str(dcmread(send_good(node, make_series)).StudyInstanceUID)
    node.wait_for_end(1, ended={"analysed", "skipped", "failed"})
    outputs = sorted((node.state / "outputs").rglob("*.dcm"))
    own = [path for path in outputs if str(dcmread(path, stop_before_pixels=True).StudyInstanceUID) == uid]
    assert len(own) == 2
    assert all(answer.ok for answer in send(node.peer, "ARCHIVE", own, 5))
    node.wait_for_end(3, ended={"analysed", "skipped", "failed"})
    back = [series for series in node.ask("results", uid) if series["state"] == "skipped"]
    assert len(back) == 2
    assert all("this node" in series["reason"] for series in back)


def send_good(node: RunningNode, make_series: MakeSeries) -> Path:
    paths = make_series(6, series_description="to be sent back")
    assert all(answer.ok for answer in send(node.peer, "SENDER", paths, 5))
    return paths[0]
