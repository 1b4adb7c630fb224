"""A received series and a worker that does its job when asked to, with makers that do as they are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from ctiqa_node.analysis import Analyst
from ctiqa_node.config import Config, Destination
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind
from ctiqa_node.db.tables import Output
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.making import MAKERS, Maker, uid_of
from ctiqa_node.report.content import Progress, Report
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.spool import Spool
from ctiqa_node.tasks import Assessing
from support.rows import SOP_CLASSES
from support.slices import ct_datasets, received
from support.waiting import eventually

made: list[OutputKind] = []
"""What the makers of `maker_of` were asked for."""


def empty_page(report: Report, progress: Progress) -> Dataset:
    """A summary page on which nothing is drawn: drawing takes longer than all the rest."""
    return secondary_capture(report, np.zeros((8, 8, 3), dtype=np.uint8))


def maker_of(kind: OutputKind, *, shows: bool = True) -> Maker:
    """A maker of a page that is called another object, or of nothing; `made` tells that it was asked."""
    page = MAKERS[OutputKind.SUMMARY_PAGE]

    def make(report: Report, progress: Progress) -> Dataset | None:
        made.append(kind)
        dataset = page(report, progress)
        assert dataset is not None
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SOP_CLASSES[kind]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid_of(report, kind)
        return dataset if shows else None

    return make


def breaks(error: BaseException) -> Maker:
    """A maker that fails so."""

    def make(report: Report, progress: Progress) -> Dataset | None:
        raise error

    return make


def to(name: str, profile: str = "generic-pacs", **objects: bool) -> Destination:
    """A destination of this name and profile, with objects switched on or off."""
    return Destination(name=name, ae_title="A", host="h", port=1, profile=profile, objects=objects)


def deliveries(database: Database) -> dict[OutputKind, set[str]]:
    """Where each output is to go, none of them having gone yet."""
    with database.read() as session:
        outputs = session.scalars(select(Output)).all()
        assert {each.state for output in outputs for each in output.deliveries} <= {DeliveryState.PENDING}
        return {output.kind: {each.destination for each in output.deliveries} for output in outputs}


class Desk:
    """A received series, and a worker that does its job when asked to."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.outputs = folder / "outputs"
        self.outputs.mkdir()
        self.config = Config()
        self._folder = folder
        self._spool = Spool(folder / "spool", 0)
        self.analyst = Analyst("cpu", ("snr",), 1)

    def receive(self, *destinations: Destination) -> None:
        """A series of five slices that is complete, to be told to these destinations."""
        self.config = Config(destinations=destinations)
        ingest = Ingest(self.database, self._spool, self.config.series.model_copy(update={"quiet_seconds": 0.01}))
        for dataset in ct_datasets(self._folder / "ct", 5):
            ingest.receive(received(dataset))
        eventually(ingest.close_quiet_series)

    def receive_late(self, uid: str) -> None:
        """Another slice of the same series, 100 mm beyond the others."""
        ingest = Ingest(self.database, self._spool, self.config.series.model_copy(update={"quiet_seconds": 0.01}))
        dataset = dcmread(sorted((self._folder / "ct").iterdir())[0])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], 100.0 + float(uid[-1]) * 2.5]
        ingest.receive(received(dataset))
        eventually(ingest.close_quiet_series)

    def work(self) -> int:
        """Do the job that waits; its ID."""
        with self.database.write() as session:
            job = jobs.claim(session, "worker")
            assert job is not None
        shares: list[float] = []
        Assessing(self.config, self.database, self._spool, self.outputs, self.analyst).analyse(
            job.id, "worker", shares.append
        )
        assert shares == sorted(shares)
        assert max(shares) == 1
        return job.id

    def give_back(self, *, fatal: bool) -> None:
        """What the supervisor does when the worker is dead, or was stopped; the next try may begin at once."""
        with self.database.write() as session:
            (job,) = jobs.in_work(session)
            jobs.give_back(session, job, "the worker died: signal SIGKILL", 3, fatal=fatal)
            job.not_before = now()
