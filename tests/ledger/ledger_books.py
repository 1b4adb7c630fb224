"""Helpers: a state folder with what receives in it, and a way to have a series assessed without models."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from ctiqa_node.config import Config
from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind
from ctiqa_node.db.tables import AssessmentRow, Association, Delivery, DeliveryTry, MeasurementRow, Output, Series
from ctiqa_node.delivery import settle
from ctiqa_node.ingest import Ingest, note_assessed
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.ledger.account import Account
from ctiqa_node.ledger.reconcile import reconcile
from ctiqa_node.series import SeriesEvent, apply_event
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder
from support.rows import SOP_CLASSES, new_database
from support.slices import ct_datasets, received


class Books:
    """What was received and what became of it; `account()` reads the books."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = StateFolder(root / "state")
        self.config = Config(
            node={"state_dir": self.folder.root},
            series={"quiet_seconds": 0.001},
            destinations=[{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1}],
        )
        new = not self.folder.database.exists()
        self.folder.create()
        self.database = new_database(self.folder.database) if new else Database(self.folder.database)
        self.spool = Spool(self.folder.spool, 0)
        self.ingest = Ingest(self.database, self.spool, self.config.series)
        self._made = 0

    def account(self) -> Account:
        return reconcile(self.config, self.database)

    def receive(self, count: int = 5, tags: SeriesTags | None = None, *, localizer: bool = False) -> str:
        """A series that came over an association of its own; its UID."""
        self._made += 1
        with self.database.write() as session:
            association = Association(
                calling_ae_title="CT_1", called_ae_title="CTIQA", address="10.0.0.7", port=104, opened_at=now(),
                closed_at=now(), outcome="released",
            )  # fmt: skip
            session.add(association)
            session.flush()
        datasets = ct_datasets(self.root / f"ct{self._made}", count, tags=tags)
        if localizer:
            datasets[-1].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        for dataset in datasets:
            self.ingest.receive(received(dataset, association.id))
        return str(datasets[0].SeriesInstanceUID)

    def close(self) -> None:
        """Close what has become quiet."""
        self.let_pass(1)
        self.ingest.close_quiet_series()

    def let_pass(self, seconds: float) -> None:
        """Make all series as old as if so much time had passed since they last changed."""
        self.ingest._heard.clear()
        with self.database.write() as session:
            for series in session.scalars(select(Series)):
                series.last_instance_at -= timedelta(seconds=seconds)
                series.state_since -= timedelta(seconds=seconds)

    def assess(self, delivery: DeliveryState = DeliveryState.SENT) -> None:
        """Record results for the oldest waiting series, as the worker does, and end their delivery so."""
        with self.database.write() as session:
            job = jobs.claim(session, "worker")
            assert job is not None
            uids = {i.sop_instance_uid for i in job.series.instances if "LOCALIZER" not in i.image_type}
            note_assessed(session, job.series, job.revision, uids)
            row = AssessmentRow(
                series=job.series, revision=job.revision, model="snr", version="1", trained_on="nothing",
                status="scored", device="cpu", seconds=1, assessed_at=now(),
            )  # fmt: skip
            row.measurements = [
                MeasurementRow(name="snr", value=40, unit="1", slice_index=0, sop_instance_uid=sorted(uids)[0])
            ]
            session.add(row)
            output = self._output(job.series, job.revision, delivery)
            session.add(output)
            jobs.finish(job)
            apply_event(session, job.series, SeriesEvent.ASSESSED, f"revision {job.revision}")
            settle(session, job.series)

    def _output(self, series: Series, revision: int, state: DeliveryState) -> Output:
        relative, content = f"{series.id}/{revision}-sr.dcm", f"the report of {series.patient_name}".encode()
        path = self.folder.outputs / relative
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        moment = now()
        sent = moment if state is DeliveryState.SENT else None
        row = Delivery(destination="pacs", state=state, created_at=moment, next_try_at=moment, sent_at=sent)
        row.tries = [DeliveryTry(at=moment, status=0, answer="Success")]
        return Output(
            series=series, revision=revision, kind=OutputKind.STRUCTURED_REPORT, path=relative,
            sop_class_uid=SOP_CLASSES[OutputKind.STRUCTURED_REPORT], sop_instance_uid=f"2.25.77{series.id}",
            sha256=hashlib.sha256(content).hexdigest(), made_at=moment, deliveries=[row],
        )  # fmt: skip

    def files(self) -> list[Path]:
        """The complete files of the spool."""
        return [self.spool.path(relative) for relative in self.spool.objects()]
