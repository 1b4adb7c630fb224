"""From a received instance to rows: what it is, whether it came before, which series it belongs to, when that ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence, Set
from datetime import datetime, timedelta
from io import BytesIO

from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sqlalchemy import Select, bindparam, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ctiqa_node.arrivals import Arrival, Arrivals, Outcome, row_values
from ctiqa_node.config import SeriesSection
from ctiqa_node.ct.claims import MOST_INFLATED_BYTES, inflates_within
from ctiqa_node.ct.selection import InstanceSummary, choose
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState, SeriesState
from ctiqa_node.db.tables import Association, Instance, Series
from ctiqa_node.dicom import ReceivedInstance, is_uid
from ctiqa_node.errors import Rejected, RetryLater
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.logs import get_logger
from ctiqa_node.received_header import UNREADABLE, Header, header_of
from ctiqa_node.series import WAITING_FOR_QUIET, SeriesEvent, apply_event
from ctiqa_node.spool import Spool

log = get_logger(__name__)

# What comes again of these after its pixel data has expired is not wanted again: the values are here.
_VALUED = frozenset({SeriesState.ANALYSED, SeriesState.DELIVERED, SeriesState.UNDELIVERED})


MayClose = Callable[[Session, Series], bool]


class Ingest:
    """Takes instances in, and closes series that have become quiet."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        settings: SeriesSection,
        may_close: MayClose = lambda *_: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`may_close` says whether a series that has been quiet long enough is waited for no longer."""
        self._database = database
        self._spool = spool
        self._settings = settings
        self._arrivals = Arrivals(database, self._enter)
        self._may_close = may_close
        self._monotonic = monotonic
        self._heard: dict[str, float] = {}
        """When each series that waits was heard of last, since this process began, however the wall clock was set."""

    def receive(self, received: ReceivedInstance) -> Outcome:
        """Keep one instance: file and row are on disk when this returns.

        Raises:
            Rejected: no usable dataset, or not the one that the C-STORE command names.
            RetryLater: no room, or the database cannot be written now.
        """
        header = read_header(received)
        self._heard[header.series_instance_uid] = self._monotonic()
        digest = hashlib.sha256(memoryview(received.part10)[received.dataset_offset :]).hexdigest()
        try:
            if self._count_copy(received, digest):
                return Outcome.DUPLICATE
            path = self._spool.store(received.part10)
            recorded = False
            try:
                outcome = self._arrivals.record(Arrival(received, header, digest, path))
                recorded = True
            finally:
                if not recorded:
                    self._spool.discard(path)
            return outcome
        except DatabaseError as error:
            raise RetryLater(f"The database cannot be written: {error.orig}.") from error

    def _count_copy(self, received: ReceivedInstance, digest: str) -> bool:
        """Count the very same instance once more, if it is here or no longer needed."""
        with self._database.read() as session:
            same = {"uid": received.sop_instance_uid, "sha256": digest}
            if session.connection().execute(_SAME, same).first() is None:  # nearly always, so in few words
                return False
            known = _find_same(session, received.sop_instance_uid, digest)
            if known is None or not self._is_kept(known):
                return False
        with self._database.write() as session:
            again = session.get(Instance, known.id)
            if again is None or not self._is_kept(again):  # purged or expired meanwhile
                return False
            _count(session, received, again)
        return True

    def _is_kept(self, instance: Instance) -> bool:
        """Whether its file is there, or has expired and its series has the values that were made of it."""
        if instance.expired_at is not None:
            return instance.series.state in _VALUED
        return self._spool.path(instance.path).is_file()

    def _enter(self, session: Session, arrival: Arrival) -> Outcome:
        """Write down an instance that is not just another one of a series that is being received."""
        received, header = arrival.received, arrival.header
        same = _find_same(session, received.sop_instance_uid, arrival.sha256)
        if same is not None:
            # Two associations brought it at once; or its file had gone, and this one takes its place.
            if self._is_kept(same):
                self._spool.discard(arrival.path)
            else:
                _take_again(session, same, arrival.path)
            _count(session, received, same)
            return Outcome.DUPLICATE
        kept = _find_kept(session, received.sop_instance_uid)
        series = _find_or_open_series(session, header)
        state = InstanceState.KEPT if kept is None else InstanceState.CONFLICT
        session.add(Instance(series=series, **row_values(arrival, state)))
        _count_stored(session, received)
        if state is InstanceState.CONFLICT:
            log.warning(
                "SOP Instance UID came before with other content; kept apart, not assessed",
                sop_instance=received.sop_instance_uid, series=header.series_instance_uid,
            )  # fmt: skip
            _keep_awake(series)
            return Outcome.CONFLICT
        _touch(session, series)
        return Outcome.KEPT

    def close_quiet_series(self) -> int:
        """Decide on every series that has been quiet long enough; returns how many."""
        self._spool.tidy()
        before = now() - timedelta(seconds=self._settings.quiet_seconds)
        self._forget_silent()
        with self._database.read() as session:
            waiting = session.scalars(_quiet_since(before)).all()
            silent = [each for each in waiting if each.series_instance_uid not in self._heard]
            quiet = [each.id for each in silent if self._may_close(session, each)]
        for series_id in quiet:
            with self._database.write() as session:
                self._close(session, session.get_one(Series, series_id), before)
        return len(quiet)

    def _forget_silent(self) -> None:
        """Keep in mind only what is not quiet by the monotonic clock: a clock set forward must cut no series in two."""
        moment = self._monotonic()
        for uid, heard in list(self._heard.items()):
            if moment - heard >= self._settings.quiet_seconds:
                self._heard.pop(uid, None)

    def _close(self, session: Session, series: Series, before: datetime) -> None:
        if series.state not in WAITING_FOR_QUIET or series.last_instance_at > before:
            return
        kept = kept_instances(session, series)
        choice = choose([summary_of(instance, series) for instance in kept], self._settings.min_slices)
        reason = choice.reason or _without_pixels(series, [kept[index] for index in choice.selected])
        if reason is not None:
            apply_event(session, series, SeriesEvent.NOT_ELIGIBLE, reason)
            log.info("series skipped", series=series.series_instance_uid, reason=reason)
            return
        series.revision += 1
        apply_event(session, series, SeriesEvent.QUIET, f"{len(choice.selected)} of {len(kept)} instances")
        jobs.enqueue(session, series)
        log.info("series complete", series=series.series_instance_uid, instances=len(kept), revision=series.revision)


def kept_instances(session: Session, series: Series) -> list[Instance]:
    """The instances of a series that count, in the order of their arrival."""
    return list(
        session.scalars(
            select(Instance)
            .where(Instance.series_id == series.id, Instance.state == InstanceState.KEPT)
            .order_by(Instance.id)
        )
    )


def note_assessed(session: Session, series: Series, revision: int, sop_instance_uids: Set[str]) -> None:
    """Write down which instances were part of the volume that was assessed as a revision."""
    for instance in kept_instances(session, series):
        if instance.sop_instance_uid in sop_instance_uids:
            instance.assessed_in = revision


def summary_of(instance: Instance, series: Series) -> InstanceSummary:
    """What selection needs to know of a stored instance."""
    return InstanceSummary(
        sop_class_uid=instance.sop_class_uid,
        modality=instance.modality,
        image_type=tuple(instance.image_type),
        orientation=tuple(instance.orientation) if instance.orientation is not None else None,
        frames=instance.frames,
        is_own_result=instance.own_result,
        series_description=series.description,
    )


def read_header(received: ReceivedInstance) -> Header:
    """Read the dataset up to its pixel data.

    Raises:
        Rejected: it cannot be read, lacks a UID that DICOM requires, or is another instance than the command says.
    """
    if received.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        _refuse_if_it_bursts(received)
    try:
        dataset = dcmread(BytesIO(received.part10), stop_before_pixels=True)
        header = header_of(dataset)
        named = str(dataset.get("SOPInstanceUID", "")), str(dataset.get("SOPClassUID", ""))
    except UNREADABLE as error:
        log.debug("dataset cannot be read", error=str(error))  # it may quote a value, and a value may be a name
        raise Rejected(f"The dataset cannot be read ({type(error).__name__}).") from error
    for keyword, uid in (
        ("SOP Instance UID", named[0]),
        ("Study Instance UID", header.study_instance_uid),
        ("Series Instance UID", header.series_instance_uid),
    ):
        if not is_uid(uid):
            raise Rejected(f"{keyword} is missing." if not uid else f"{keyword} is not a UID.")
    if named != (received.sop_instance_uid, received.sop_class_uid):
        raise MismatchedDataset("The dataset is not the SOP Instance that the command names.")
    return header


def _refuse_if_it_bursts(received: ReceivedInstance) -> None:
    """pydicom inflates the whole of it in memory."""
    if not inflates_within(memoryview(received.part10)[received.dataset_offset :]):
        raise Rejected(f"The dataset inflates to more than {MOST_INFLATED_BYTES >> 20} MiB.")


class MismatchedDataset(Rejected):
    """Dataset and C-STORE command name different instances or classes (PS3.4 B.2.3, status 0xA900)."""


_SAME = select(Instance.id).where(Instance.sop_instance_uid == bindparam("uid"), Instance.sha256 == bindparam("sha256"))


def _find_same(session: Session, sop_instance_uid: str, digest: str) -> Instance | None:
    return session.scalars(
        select(Instance).where(Instance.sop_instance_uid == sop_instance_uid, Instance.sha256 == digest)
    ).first()


def _find_kept(session: Session, sop_instance_uid: str) -> Instance | None:
    return session.scalars(
        select(Instance).where(Instance.sop_instance_uid == sop_instance_uid, Instance.state == InstanceState.KEPT)
    ).first()


def _find_or_open_series(session: Session, header: Header) -> Series:
    found = session.scalars(select(Series).where(Series.series_instance_uid == header.series_instance_uid)).first()
    if found is not None:
        return found
    moment = now()
    series = Series(
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
        accession_number=header.accession_number,
        patient_id=header.patient_id,
        patient_name=header.patient_name,
        study_date=header.study_date,
        modality=header.summary.modality,
        description=header.series_description,
        state=SeriesState.RECEIVING,
        state_since=moment,
        revision=0,
        first_instance_at=moment,
        last_instance_at=moment,
    )
    session.add(series)
    return series


def _take_again(session: Session, instance: Instance, path: str) -> None:
    """A file takes the place of one that has gone. If that had expired, its series is looked at anew."""
    instance.path = path
    if instance.expired_at is not None:
        instance.expired_at = None
        _touch(session, instance.series)


def _without_pixels(series: Series, chosen: Sequence[Instance]) -> str | None:
    """Why a series that a slice came to after its pixel data had expired is not assessed; None: all pixels are here."""
    expired = sum(instance.expired_at is not None for instance in chosen)
    if not expired:
        return None
    values = f"; the values of revision {series.revision} stand" if series.revision else ""
    return (
        f"the pixel data of {expired} of its {len(chosen)} slices has expired (retention.days){values}; "
        "send the whole series again to have it assessed"
    )


def _touch(session: Session, series: Series) -> None:
    """A new instance of the series: its quiet period starts anew, and older decisions no longer hold."""
    before = series.state
    series.last_instance_at = now()
    if apply_event(session, series, SeriesEvent.INSTANCE) is SeriesState.STALE and before is not SeriesState.STALE:
        jobs.supersede_waiting(session, series)


def _count(session: Session, received: ReceivedInstance, instance: Instance) -> None:
    instance.copies += 1
    _count_stored(session, received)
    _keep_awake(instance.series)


def _keep_awake(series: Series) -> None:
    """What adds nothing to a series shows all the same that its sender is not done with it."""
    if series.state in WAITING_FOR_QUIET:
        series.last_instance_at = now()


def _count_stored(session: Session, received: ReceivedInstance) -> None:
    if received.association_id is not None:
        session.get_one(Association, received.association_id).stored += 1


def _quiet_since(before: datetime) -> Select[Series]:
    return select(Series).where(Series.state.in_(WAITING_FOR_QUIET), Series.last_instance_at <= before)
