"""Counting after a fault: what was promised against what is there, in the node and in the archives."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Self, cast

from pydicom import dcmread
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import select

from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, InstanceState, OutputState
from ctiqa_node.db.tables import Instance, Output, Series
from support.peers import Archive
from support.running_node import RunningNode

FINAL = frozenset({"delivered", "undelivered", "skipped", "failed"})


class CountingArchive(Archive):
    """Remembers how often each SOP Instance came, and that it was the same each time; answers after a pause."""

    def __init__(self, pause_seconds: float = 0.0) -> None:
        super().__init__("COUNTER")
        self._pause = pause_seconds
        self._digests: dict[str, set[str]] = {}
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def _store(self, event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        uid = str(request.AffectedSOPInstanceUID)
        with self._counting:
            self._digests.setdefault(uid, set()).add(
                hashlib.sha256(cast(BytesIO, request.DataSet).getvalue()).hexdigest()
            )
        time.sleep(self._pause)
        return super()._store(event)

    @property
    def instances(self) -> set[str]:
        """The SOP Instance UIDs that it has."""
        return set(self._digests)

    @property
    def sent_again(self) -> int:
        """How many instances came more often than once: their answer was lost with the node."""
        return sum(count > 1 for count in Counter(self.requests).values())

    @property
    def changed(self) -> set[str]:
        """Instances that came again with other content, which must not be."""
        return {uid for uid, digests in self._digests.items() if len(digests) > 1}


@dataclass(frozen=True, slots=True)
class Count:
    """What was promised, and what was counted."""

    promised: int
    """Instances that were answered with Success, as their senders say."""
    found: int
    """Of these, how many have exactly one row and a file with the pixels that were sent."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    """Instances with several rows, and result objects of which an archive has several."""
    series: int = 0
    final: int = 0
    """Series that came to an end."""
    results: int = 0
    """Result objects in the archives."""
    sent_again: int = 0
    reconcile: int = -1
    """The exit code of `ctiqa-node reconcile`."""

    def check(self) -> None:
        """Nothing lost, nothing doubled, all at an end, and the books say the same."""
        assert not self.lost, f"{len(self.lost)} of {self.promised} instances lost: {self.lost[:3]}"
        assert not self.doubled, f"doubled: {self.doubled[:3]}"
        assert self.found == self.promised
        assert self.final == self.series
        assert self.reconcile == 0


def count(node: RunningNode, promised: Iterable[Path], *archives: set[str], sent_again: int = 0) -> Count:
    """Count in the node's folder, and in archives of which the SOP Instance UIDs are given."""
    sent = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in promised}
    database = Database(node.state / "ctiqa.sqlite")
    try:
        with database.read() as session:
            rows = session.scalars(select(Instance)).all()
            states = Counter(session.scalars(select(Series.state)))
            outputs = session.scalars(select(Output)).all()
            doubled = [uid for uid, times in Counter(row.sop_instance_uid for row in rows).items() if times > 1]
            kept = {row.sop_instance_uid: row.path for row in rows if row.state is InstanceState.KEPT}
            for uids in archives:
                doubled += _doubled_results(outputs, uids)
    finally:
        database.close()
    lost = [uid for uid, path in sent.items() if not _is_there(path, node.state / "spool" / kept.get(uid, "none"))]
    ran = node.run("reconcile")
    if ran.returncode:
        print(ran.stdout, ran.stderr)  # noqa: T201  # what pytest shows of a test that fails
    return Count(
        promised=len(sent), found=len(sent) - len(lost), lost=lost, doubled=doubled, series=states.total(),
        final=sum(times for state, times in states.items() if state in FINAL),
        results=sum(map(len, archives)), sent_again=sent_again, reconcile=ran.returncode,
    )  # fmt: skip


def _is_there(sent: Path, kept: Path) -> bool:
    return kept.is_file() and dcmread(kept).PixelData == dcmread(sent).PixelData


def _doubled_results(outputs: Iterable[Output], archived: set[str]) -> list[str]:
    """What an archive has too much: several objects of a kind of one revision, or such as no row tells of."""
    known = {output.sop_instance_uid: (output.series_id, output.revision, output.kind) for output in outputs}
    times = Counter(known.get(uid, ("unknown", uid)) for uid in archived)
    missing = {
        output.sop_instance_uid
        for output in outputs
        if output.state is OutputState.KEPT
        and any(each.state is DeliveryState.SENT for each in output.deliveries)
        and output.sop_instance_uid not in archived
    }
    assert not missing, f"recorded as sent, and not in the archive: {missing}"
    return [f"{what}: {number}" for what, number in times.items() if number > 1 or what[0] == "unknown"]
