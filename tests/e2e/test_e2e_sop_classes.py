"""What a real archive takes of the SOP Classes of results."""

from __future__ import annotations

from pathlib import Path

import pytest
from archives import Orthanc

from ctiqa_node.db.states import OutputKind
from ctiqa_node.dimse.storage_scu import send
from support.rows import SOP_CLASSES
from support.slices import result_files

pytestmark = [pytest.mark.peers, pytest.mark.slow]


def test_orthanc_takes_the_sop_classes_of_all_kinds_of_results(tmp_path: Path) -> None:
    folder = result_files(tmp_path / "outputs", SOP_CLASSES)
    with Orthanc(tmp_path / "orthanc") as archive:
        answers = send(archive.peer, "CTIQA", sorted(folder.iterdir()), 5)
        said = {OutputKind(answer.path.stem): answer.sentence for answer in answers}
        assert said == dict.fromkeys(OutputKind, "Success")
        assert len(archive.find("Instance", {})) == len(OutputKind)
