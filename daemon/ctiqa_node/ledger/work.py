"""Series, jobs, outputs and deliveries among each other: each has a parent, and an end or a next step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ctiqa_node.config import Config
from ctiqa_node.db.columns import now
from ctiqa_node.db.states import OPEN_DELIVERIES, DeliveryState, JobState, SeriesState
from ctiqa_node.db.tables import AssessmentRow, Delivery, DeliveryTry, Heartbeat, Instance, Job, Output, Series
from ctiqa_node.ledger.account import AnySelect, TroubleKind
from ctiqa_node.series import WAITING_FOR_QUIET

OVERDUE = timedelta(minutes=10)
"""What the node does every second should have been done by then."""
CLOCK_SLACK = timedelta(hours=1)

_ASSESSED = (SeriesState.ANALYSED, SeriesState.DELIVERED, SeriesState.UNDELIVERED)
_ENDED_JOBS = (JobState.DONE, JobState.FAILED, JobState.SUPERSEDED, JobState.DROPPED)
_BUG = "report it with the output of `ctiqa-node why` of this series"
_RESEND = "let its sender send the series again"


@dataclass(frozen=True, slots=True)
class Rule:
    """A query that finds nothing when all is well; its rows are (Series Instance UID, text that names the thing)."""

    kind: TroubleKind
    query: AnySelect
    what: str
    to_do: str


def rules(session: Session, config: Config, *, running: bool) -> Iterator[Rule]:
    """All rules on the rows of work. Within one transaction a running node cannot break them."""
    yield from _series_rules()
    yield from _settled_rules()
    yield from _job_rules()
    yield from _delivery_rules(config)
    if running and _has_run_for(session, OVERDUE):
        yield _overdue(config)


def _named(name: str, key: InstrumentedAttribute[int]) -> AnySelect:
    return select(Series.series_instance_uid, func.printf(name, key))


def _of_job(*conditions: ColumnElement[bool]) -> AnySelect:
    return _named("J%d", Job.id).select_from(Job).join(Series, Job.series_id == Series.id).where(*conditions)


def _of_delivery(*conditions: ColumnElement[bool]) -> AnySelect:
    query = select(Series.series_instance_uid, func.printf("D%d to %s", Delivery.id, Delivery.destination))
    joined = query.select_from(Delivery).join(Output, Delivery.output_id == Output.id)
    return joined.join(Series, Output.series_id == Series.id).where(*conditions)


def _of_series(*conditions: ColumnElement[bool]) -> AnySelect:
    return select(Series.series_instance_uid, Series.state).where(*conditions)


def _assessment_of(revision: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    of_it = (AssessmentRow.series_id == Series.id, AssessmentRow.revision == revision)
    return select(AssessmentRow.id).where(*of_it).exists()


def _has_job(*states: JobState) -> ColumnElement[bool]:
    of_it = (Job.series_id == Series.id, Job.revision == Series.revision, Job.state.in_(states))
    return select(Job.id).where(*of_it).exists()


def _series_rules() -> Iterator[Rule]:
    without = ~select(Instance.id).where(Instance.series_id == Series.id).exists()
    yield Rule(TroubleKind.CONTRADICTION, _of_series(without), "a series ({}) without any instance", _BUG)
    ended = Series.state.in_((SeriesState.SKIPPED, SeriesState.FAILED))
    no_reason = _of_series(ended, or_(Series.reason.is_(None), Series.reason == ""))
    yield Rule(TroubleKind.CONTRADICTION, no_reason, "a series that is {} without a reason", _BUG)
    idle = or_(
        and_(Series.state == SeriesState.COMPLETE, ~_has_job(JobState.TODO)),
        and_(Series.state == SeriesState.ANALYSING, ~_has_job(JobState.DOING)),
    )
    yield Rule(TroubleKind.STUCK, _of_series(idle), "a series that is {} and no job will assess it", _RESEND)
    not_assessed = _of_series(Series.state.in_(_ASSESSED), ~_assessment_of(Series.revision))
    yield Rule(TroubleKind.CONTRADICTION, not_assessed, "a series that is {} without any value", _RESEND)
    in_volume = select(Instance.id).where(Instance.series_id == Series.id, Instance.assessed_in == Series.revision)
    of_nothing = _of_series(Series.state.in_(_ASSESSED), _assessment_of(Series.revision), ~in_volume.exists())
    yield Rule(TroubleKind.CONTRADICTION, of_nothing, "a series that is {}, of which no instance was assessed", _BUG)


def _settled_rules() -> Iterator[Rule]:
    present = and_(Output.series_id == Series.id, Output.revision == Series.revision)
    sending = select(Delivery.id).join(Output, Delivery.output_id == Output.id).where(present)
    pending = sending.where(Delivery.state.in_(OPEN_DELIVERIES)).exists()
    unsettled = _of_series(Series.state == SeriesState.ANALYSED, sending.exists(), ~pending)
    yield Rule(TroubleKind.STUCK, unsettled, "a series that is {}, though all its results have ended", _BUG)
    early = _of_series(Series.state.in_((SeriesState.DELIVERED, SeriesState.UNDELIVERED)), pending)
    yield Rule(TroubleKind.CONTRADICTION, early, "a series that is {}, though results of it still wait", _BUG)


def _job_rules() -> Iterator[Rule]:
    elsewhere = or_(Series.state != SeriesState.COMPLETE, Series.revision != Job.revision)
    waiting = _of_job(Job.state == JobState.TODO, elsewhere)
    yield Rule(
        TroubleKind.CONTRADICTION, waiting, "{} waits, but its series does not wait for it", "drop it: queue drop"
    )
    endless = _of_job(Job.state.in_(_ENDED_JOBS), Job.finished_at.is_(None))
    yield Rule(TroubleKind.CONTRADICTION, endless, "{} has ended, and nobody knows when", _BUG)
    fruitless = _of_job(Job.state == JobState.DONE, ~_assessment_of(Job.revision))
    yield Rule(TroubleKind.CONTRADICTION, fruitless, "{} is done, but there are no values of its revision", _RESEND)


def _delivery_rules(config: Config) -> Iterator[Rule]:
    pending = Delivery.state.in_(OPEN_DELIVERIES)
    known = [destination.name for destination in config.destinations]
    orphans = _of_delivery(pending, Delivery.destination.not_in(known))
    yield Rule(
        TroubleKind.STUCK, orphans, "{} waits, but the configuration has no such destination",
        "restart the node, which ends it, or name the destination again",
    )  # fmt: skip
    settings = config.delivery
    waits = (settings.max_retry_seconds, settings.first_retry_seconds, settings.commitment_wait_seconds)
    longest = timedelta(seconds=max(waits))
    far = _of_delivery(pending, Delivery.next_try_at > now() + longest + CLOCK_SLACK)
    yield Rule(TroubleKind.STUCK, far, "{} is to be tried far in the future; was the clock set back?", "queue retry it")
    unsent = _of_delivery(Delivery.state == DeliveryState.SENT, Delivery.sent_at.is_(None))
    yield Rule(TroubleKind.CONTRADICTION, unsent, "{} is sent, and nobody knows when", _BUG)
    untried = ~select(DeliveryTry.id).where(DeliveryTry.delivery_id == Delivery.id).exists()
    ended = _of_delivery(Delivery.state.in_((DeliveryState.FAILED, DeliveryState.REFUSED)), untried)
    yield Rule(TroubleKind.CONTRADICTION, ended, "{} was given up without a try", "queue retry it")
    no_parent = ~_assessment_of(Output.revision)
    orphan = _named("%d", Output.id).select_from(Output).join(Series, Output.series_id == Series.id).where(no_parent)
    yield Rule(TroubleKind.CONTRADICTION, orphan, "output {} belongs to a revision without values", _BUG)


def _overdue(config: Config) -> Rule:
    before = now() - timedelta(seconds=config.series.quiet_seconds) - OVERDUE
    quiet = _of_series(Series.state.in_(WAITING_FOR_QUIET), Series.last_instance_at < before)
    return Rule(TroubleKind.STUCK, quiet, "a series that is {} long after it fell quiet", "look into the log; restart")


def _has_run_for(session: Session, span: timedelta) -> bool:
    node = session.get(Heartbeat, "node")
    return node is not None and node.started_at < now() - span
