"""The life of a series: whatever happens in whatever order, its state comes from the one table, and is told."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.states import SeriesState
from ctiqa_node.db.tables import Base, Series, SeriesChange
from ctiqa_node.series import TRANSITIONS, WAITING_FOR_QUIET, SeriesEvent, UnknownTransition, apply_event, next_state
from support.rows import add_series

ENGINE = create_engine("sqlite://")
Base.metadata.create_all(ENGINE)
UNKNOWN = sorted(set(itertools.product(SeriesState, SeriesEvent)) - set(TRANSITIONS))


@given(start=st.sampled_from(SeriesState), events=st.lists(st.sampled_from(SeriesEvent), max_size=30))
def test_no_order_of_events_leaves_the_table(start: SeriesState, events: list[SeriesEvent]) -> None:
    with Session(ENGINE) as session:
        series = add_series(session, start)
        written = []
        for event in events:
            before = series.state
            if (before, event) not in TRANSITIONS:
                with pytest.raises(UnknownTransition, match=f"A series that is {before} cannot have the event"):
                    apply_event(session, series, event, "never")
                assert series.state is before
                continue
            after = apply_event(session, series, event, "because")
            assert after is series.state is TRANSITIONS[before, event]
            if not (event is SeriesEvent.INSTANCE and before is after):
                written.append((event, before, after, "because"))
        session.flush()
        changes = session.scalars(
            select(SeriesChange).where(SeriesChange.series_id == series.id).order_by(SeriesChange.id)
        ).all()
        assert [(c.event, c.from_state, c.to_state, c.detail) for c in changes] == written
        assert all(first.at <= second.at for first, second in itertools.pairwise(changes))
        session.rollback()


@pytest.mark.parametrize(("state", "event"), UNKNOWN)
def test_a_pair_that_is_not_in_the_table_raises(state: SeriesState, event: SeriesEvent) -> None:
    with pytest.raises(UnknownTransition):
        next_state(state, event)


@pytest.mark.parametrize("state", SeriesState)
def test_another_instance_is_possible_in_every_state(state: SeriesState) -> None:
    assert next_state(state, SeriesEvent.INSTANCE) in WAITING_FOR_QUIET


@pytest.mark.parametrize("state", SeriesState)
def test_every_state_can_be_reached_and_left(state: SeriesState) -> None:
    reached, more = {SeriesState.RECEIVING}, True
    while more:
        further = {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached
        reached, more = reached | further, bool(further)
    assert state in reached
    assert any(before is state and after is not state for (before, _), after in TRANSITIONS.items())


def test_a_change_sets_state_time_and_reason() -> None:
    with Session(ENGINE) as session:
        series = add_series(session)
        series.state_since = now() - timedelta(hours=1)
        apply_event(session, series, SeriesEvent.NOT_ELIGIBLE, "not CT: modality MR")
        assert (series.state, series.reason) == (SeriesState.SKIPPED, "not CT: modality MR")
        assert now() - series.state_since < timedelta(seconds=5)
        session.rollback()


def test_an_instance_of_a_series_that_is_being_received_is_not_written_down() -> None:
    with Session(ENGINE) as session:
        series = add_series(session)
        since = series.state_since
        apply_event(session, series, SeriesEvent.INSTANCE)
        session.flush()
        assert session.scalars(select(SeriesChange).where(SeriesChange.series_id == series.id)).all() == []
        assert series.state_since == since
        assert isinstance(series, Series)
        session.rollback()
