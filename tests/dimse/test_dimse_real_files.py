"""Files of real devices, in every transfer syntax that the data folder has."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pynetdicom.presentation import build_context

from ctiqa_node.dimse.contexts import TRANSFER_SYNTAXES
from support.peers import associated, store_encoded
from support.reception import Reception
from support.slices import peers_bytes


@pytest.mark.data
def test_real_files_are_kept_as_they_came_in_every_transfer_syntax(reception: Reception, ctiqa_data: Path) -> None:
    sent: dict[str, list[bytes]] = {}
    for path in sorted((ctiqa_data / "transfer_syntaxes").glob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        syntax = header.file_meta.TransferSyntaxUID
        if syntax not in TRANSFER_SYNTAXES:
            continue
        encoded = peers_bytes(path.read_bytes())
        with associated(reception.port, [build_context(header.SOPClassUID, syntax)]) as association:
            assert store_encoded(association, encoded, header.SOPInstanceUID, header.SOPClassUID).Status == 0, path.name
        sent.setdefault(str(syntax), []).append(encoded)
    assert len(sent) >= 5
    kept: dict[str, list[bytes]] = {}
    for row in reception.instances():
        kept.setdefault(row.transfer_syntax_uid, []).append(peers_bytes(reception.spool.path(row.path).read_bytes()))
    assert {syntax: sorted(set(contents)) for syntax, contents in sent.items()} == {
        syntax: sorted(contents) for syntax, contents in kept.items()
    }
