"""Sending with dcmtk's storescu, over as many associations at once as wanted."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ctiqa_node.dicom import ApplicationEntity


def storescu(files: Sequence[Path], peer: ApplicationEntity, associations: int) -> int:
    """Send files, each association in a process of its own with its share; tells how many processes failed.

    A process fails when its association is refused or ends early, or an instance is not answered with Success.
    """
    target = ["-aec", peer.ae_title, peer.host, str(peer.port)]
    senders = [
        subprocess.Popen(["storescu", "-aet", f"BENCH{number}", *target, *map(str, files[number::associations])])
        for number in range(associations)
    ]
    return sum(sender.wait() != 0 for sender in senders)
