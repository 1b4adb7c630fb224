"""The work on one series: load, assess, write the values down, make the result objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node import __version__
from ctiqa_node.analysis import Analyst, Assessed
from ctiqa_node.config import Config
from ctiqa_node.counting import instances_here
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.scratch import Scratch, give_pages_back
from ctiqa_node.ct.selection import choose
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.db.columns import now
from ctiqa_node.db.evidence import archive_count
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OPEN_DELIVERIES, OutputKind
from ctiqa_node.db.tables import Delivery, Job, Output, Series, UnmadeOutput
from ctiqa_node.ingest import kept_instances, note_assessed, summary_of
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.making import MAKERS, MadeOutput, NotMade, make_output, uid_of
from ctiqa_node.records import record_values, settle_revision
from ctiqa_node.report.content import DeviceInfo, Predecessor, Report, SliceChoice
from ctiqa_node.report.verdicts import ArchiveAnswer
from ctiqa_node.routing import new_delivery, to_make, wanted
from ctiqa_node.sending import DeliveryEvent, move
from ctiqa_node.series import SeriesEvent, apply_event
from ctiqa_node.settling import settle
from ctiqa_node.spool import Spool, make_folder_durably, write_durably

Stage = Callable[[float], None]


def sparing(volume: CtVolume, progress: Stage) -> Stage:
    """A progress at which the memory of a large volume is given back: what was read of it is not needed just now."""

    def share_done(share: float) -> None:
        give_pages_back(volume.hu)
        progress(share)

    return share_done


def make_report(
    volume: CtVolume,
    assessed: Sequence[Assessed],
    revision: int,
    at: datetime,
    config: Config,
    predecessors: tuple[Predecessor, ...] = (),
    archive: ArchiveAnswer | None = None,
) -> Report:
    """Everything that the result objects are made from."""
    return Report(
        volume=volume,
        models=tuple(item.model for item in assessed),
        revision=revision,
        device=DeviceInfo(ae_title=config.node.ae_title, software_version=__version__),
        assessed_at=at,
        structured_report_series_number=config.report.sr_series_number,
        secondary_capture_series_number=config.report.summary_series_number,
        quality_maps_series_number=config.report.quality_maps_series_number,
        parametric_map_series_number=config.report.parametric_map_series_number,
        key_objects_series_number=config.report.key_objects_series_number,
        pdf_series_number=config.report.pdf_series_number,
        text_report_series_number=config.report.text_report_series_number,
        slice_groups=SliceChoice(config.report.slice_groups),
        map_slices=SliceChoice(config.report.map_slices),
        predecessors=predecessors,
        archive=archive,
    )


class Assessing:
    """Carries out `analyse` jobs."""

    def __init__(self, config: Config, database: Database, spool: Spool, outputs: Path, analyst: Analyst) -> None:
        self._config = config
        self._database = database
        self._spool = spool
        self._outputs = outputs
        self._analyst = analyst

    def analyse(self, job_id: int, worker: str, progress: Stage) -> None:
        """Assess the series of a job that this worker holds: record the values, then make one object after the other.

        Each object is recorded as soon as it is written. One that cannot be made is noted, and the others go on;
        without the structured report the series has failed in the end, with all that could be made.

        Raises:
            Rejected: the series can never be assessed, and why.
            RetryLater, MemoryError: memory does not suffice at present.
            LostJob: the series moved on meanwhile; nothing more was recorded.
        """
        series_id, attempt, paths = self._chosen_files(job_id, worker)
        scratch = Scratch(self._outputs.parent, self._config.spool.min_free_mib << 20)
        most = self._config.series.max_million_voxels * 10**6
        volume = load_series(paths, most, self._config.worker.threads, scratch)
        progress(0.1)
        told = sparing(volume, lambda share: progress(0.1 + 0.8 * share))
        assessed = self._analyst.assess(volume, told, attempt)
        report = self._record_values(job_id, worker, volume, assessed)
        making = _Making(self._database, self._config, self._outputs, job_id, worker)
        making.make_all(series_id, report, sparing(volume, lambda share: progress(0.9 + 0.1 * share)))
        with self._database.write() as session:
            _end(session, jobs.hold(session, job_id, worker))

    def _chosen_files(self, job_id: int, worker: str) -> tuple[int, int, list[Path]]:
        with self._database.read() as session:
            job = jobs.hold(session, job_id, worker)
            kept = kept_instances(session, job.series)
            choice = choose([summary_of(i, job.series) for i in kept], self._config.series.min_slices)
            return job.series_id, job.attempts, [self._spool.path(kept[index].path) for index in choice.selected]

    def _record_values(self, job_id: int, worker: str, volume: CtVolume, assessed: Sequence[Assessed]) -> Report:
        with self._database.write() as session:
            job = jobs.hold(session, job_id, worker)
            revision = settle_revision(session, job, assessed)
            last = _last_objects(session, job.series_id, revision)
            asked = _archive_answer(session, job.series)
            report = make_report(volume, assessed, revision, now(), self._config, last, asked)
            record_values(session, job, assessed, report, self._analyst.device)
            note_assessed(session, job.series, revision, {source.sop_instance_uid for source in volume.sources})
            _supersede_deliveries(session, job)
            return report


class _Making:
    """Makes the objects of one job. Each is a row of `unmade_outputs` until it is an output, so that one that kills the
    worker is known afterwards, and left out the next time.
    """

    def __init__(self, database: Database, config: Config, outputs: Path, job_id: int, worker: str) -> None:
        self._database = database
        self._config = config
        self._outputs = outputs
        self._job_id = job_id
        self._worker = worker

    def make_all(self, series_id: int, report: Report, progress: Stage) -> None:
        """Make what any destination wants, and has not been made by an earlier try, or could not be."""
        kinds = to_make(self._config.destinations)
        todo = [kind for kind in MAKERS if kind in kinds]
        for place, kind in enumerate(todo):
            if self._begin(kind, report):
                self._make(series_id, kind, report, _part(progress, place, len(todo)))
            progress((place + 1) / len(todo))

    def _begin(self, kind: OutputKind, report: Report) -> bool:
        with self._database.write() as session:
            job = jobs.hold(session, self._job_id, self._worker)
            of_kind = {"series_id": job.series_id, "revision": job.revision, "kind": kind}
            made = session.scalar(select(Output.id).filter_by(**of_kind, sop_instance_uid=uid_of(report, kind)))
            unmade = session.scalar(select(UnmadeOutput.id).filter_by(**of_kind))
            if made is not None or unmade is not None:
                return False
            session.add(UnmadeOutput(**of_kind, reason=None, at=now()))
            return True

    def _make(self, series_id: int, kind: OutputKind, report: Report, progress: Stage) -> None:
        made = make_output(report, kind, progress, self._outputs.parent)
        if isinstance(made, NotMade):
            self._finish(kind, None, made.reason)
            return
        row = None if made is None else self._write(series_id, report.revision, made)
        try:
            self._finish(kind, row)
        except jobs.LostJob:
            if row is not None:
                (self._outputs / row.path).unlink(missing_ok=True)
            raise

    def _finish(self, kind: OutputKind, row: Output | None, failure: str | None = None) -> None:
        with self._database.write() as session:
            job = jobs.hold(session, self._job_id, self._worker)
            begun = select(UnmadeOutput).filter_by(series_id=job.series_id, revision=job.revision, kind=kind)
            unmade = session.scalars(begun).one()
            if failure is not None:
                unmade.reason = failure
                return
            session.delete(unmade)
            if row is not None:
                row.series = job.series
                row.deliveries = [new_delivery(each) for each in self._config.destinations if kind in wanted(each)]
                session.add(row)

    def _write(self, series_id: int, revision: int, made: MadeOutput) -> Output:
        folder = self._outputs / str(series_id)
        make_folder_durably(folder)
        path = folder / f"{revision}-{made.kind}.dcm"
        with made.file:
            digest = write_durably(path, made.file)
        return Output(
            revision=revision,
            kind=made.kind,
            sop_class_uid=str(made.dataset.SOPClassUID),
            sop_instance_uid=str(made.dataset.SOPInstanceUID),
            path=str(path.relative_to(self._outputs)),
            sha256=digest,
            made_at=now(),
        )


def _part(progress: Stage, place: int, count: int) -> Stage:
    return lambda share: progress((place + share) / count)


def _end(session: Session, job: Job) -> None:
    """The series is analysed; without its structured report it has failed, but what was made is sent."""
    reason = session.scalar(
        select(UnmadeOutput.reason).filter_by(
            series_id=job.series_id, revision=job.revision, kind=OutputKind.STRUCTURED_REPORT
        )
    )
    if reason is not None:
        jobs.give_up(session, job, f"the structured report could not be made: {reason}")
        return
    jobs.finish(job)
    apply_event(session, job.series, SeriesEvent.ASSESSED, f"revision {job.revision}")
    settle(session, job.series)


def _last_objects(session: Session, series_id: int, revision: int) -> tuple[Predecessor, ...]:
    """Of each kind the object of the newest revision before this one that has one, whether its file is still here."""
    before = select(Output).where(Output.series_id == series_id, Output.revision < revision).order_by(Output.revision)
    newest = {output.sop_class_uid: output.sop_instance_uid for output in session.scalars(before)}
    return tuple(Predecessor(*each) for each in newest.items())


def _archive_answer(session: Session, series: Series) -> ArchiveAnswer | None:
    """What the archive said after the last instance had come."""
    known = archive_count(session, series.id)
    if known is None or known.asked_at < series.last_instance_at:
        return None
    return ArchiveAnswer(known.archive, known.instances, instances_here(session, series), known.trouble)


def _supersede_deliveries(session: Session, job: Job) -> None:
    """What still waits of an older revision is not sent: the archive shall not get two reports for one."""
    waiting = (
        select(Delivery)
        .join(Output)
        .where(
            Output.series_id == job.series_id,
            Output.revision < job.revision,
            Delivery.state.in_(OPEN_DELIVERIES),
        )
    )
    for delivery in session.scalars(waiting):
        move(delivery, DeliveryEvent.SUPERSEDED)
