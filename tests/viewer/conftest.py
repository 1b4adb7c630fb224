"""A study with its results in Orthanc, sent there by a node; and OHIF before it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Orthanc
from delivered import BUILD, Delivered
from ohif_page import Ohif, browser
from ohif_server import OhifServer

from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_node.ct.writer import write_series
from ctiqa_node.dicom import ApplicationEntity
from support.running_node import RunningNode

_PLUGINS = Path("/usr/share/orthanc/plugins")
_SETTINGS = {
    "Plugins": [str(_PLUGINS / name) for name in ("libOrthancDicomWeb.so", "libOrthancWebViewer.so")],
    "DicomWeb": {"Enable": True, "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
}
_SLICES, _SIZE, _SLICE_MM = 24, 448, 14.0
_SPOILT = {13: 0.35, 14: 0.2, 15: 0.35}
"""Slices that get only a share of the dose."""
_EVERYTHING = {"key_objects": True, "pdf": True, "text_report": True}
"""What the profile `ohif` leaves out."""


def _send(peer: ApplicationEntity, folder: Path) -> None:
    subprocess.run(
        ["storescu", "-aec", peer.ae_title, "+sd", "+r", peer.host, str(peer.port), str(folder)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    """A simulated chest series went to archive and node, and the node's results to the archive."""
    folder = tmp_path_factory.mktemp("viewer")
    scan = Scan(dose_fraction=0.06, slice_mm=_SLICE_MM, dose_factors=tuple(_SPOILT.get(z, 1.0) for z in range(_SLICES)))
    volume = simulate_series(7, _SLICES, _SIZE, scan)
    write_series(volume.hu, volume.spacing_mm, folder / "series")
    with Orthanc(folder / "orthanc", settings=_SETTINGS) as archive:
        peer = archive.peer
        destination = {
            "name": "orthanc", "ae_title": peer.ae_title, "host": peer.host, "port": peer.port,
            "profile": "ohif", "objects": _EVERYTHING,
        }  # fmt: skip
        with RunningNode(folder / "node", destinations=[destination]) as node:
            _send(peer, folder / "series")
            _send(node.peer, folder / "series")
            (summary,) = node.wait_for_end(1, seconds=1200)
            (results,) = node.ask("results", summary["series_instance_uid"])
        yield Delivered(archive, results)


@pytest.fixture(scope="session")
def ohif_in_browser(delivered: Delivered) -> Iterator[tuple[Ohif, str]]:
    """OHIF before the archive, in a browser, and the address of the study."""
    with OhifServer(BUILD / "ohif", delivered.archive.url) as server, browser(BUILD) as opened:
        yield opened, f"{server.url}/viewer?StudyInstanceUIDs={delivered.results['study_instance_uid']}"


@pytest.fixture
def ohif(ohif_in_browser: tuple[Ohif, str]) -> Ohif:
    """The study, freshly open in OHIF."""
    opened, address = ohif_in_browser
    opened.open_study(address)
    return opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep a picture of what OHIF showed when a test failed."""
    report = yield
    shown = getattr(item, "funcargs", {}).get("ohif")
    if report.when == "call" and report.failed and shown is not None:
        shown.keep(f"failed-{item.name}")
    return report
