"""Migrations make the tables of the models, and a database that cannot be used is refused with a sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

from ctiqa_node.db.columns import now
from ctiqa_node.db.revision import HEAD, current_and_head
from ctiqa_node.db.session import Database, open_engine
from ctiqa_node.db.states import DeliveryState, OutputKind, OutputState, SeriesState
from ctiqa_node.db.tables import AssessmentRow, Base, Delivery, DeliveryTry, Heartbeat, Output, Series, UnmadeOutput
from ctiqa_node.db.upgrade import _alembic, upgrade
from ctiqa_node.errors import StateError
from support.rows import add_delivery, add_series


def _tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} - {
            "sqlite_sequence"  # SQLite's own: it counts the audit's numbers, and cannot be dropped
        }


def test_the_migrations_make_just_what_the_models_say(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    upgrade(path)
    engine = open_engine(path)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_partial_index_of_kept_instances_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    upgrade(path)
    with sqlite3.connect(path) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'one_kept_instance'").fetchone()
    assert sql.startswith("CREATE UNIQUE INDEX")
    assert sql.endswith("WHERE state = 'kept'")


def test_an_upgrade_makes_the_tables_and_a_second_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "ctiqa.sqlite"
    before, after = upgrade(path)
    assert before is None
    assert {table.name for table in Base.metadata.sorted_tables} <= _tables(path)
    with Database(path).write() as session:
        session.add(Heartbeat(process="test", pid=1, started_at=now(), at=now()))
    content = path.read_bytes()
    assert upgrade(path) == (after, after)
    assert current_and_head(path) == (after, after)
    assert path.read_bytes() == content


def test_commands_know_the_newest_revision_without_alembic() -> None:
    assert ScriptDirectory.from_config(_alembic(Path("unused"))).get_current_head() == HEAD


def test_a_database_can_be_taken_down_and_up_again(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    _, head = upgrade(path)
    command.downgrade(_alembic(path), "base")
    assert _tables(path) == {"alembic_version"}
    assert upgrade(path) == (None, head)
    assert {table.name for table in Base.metadata.sorted_tables} <= _tables(path)


_A_DELIVERY_OF_THE_FIRST_TABLES = """
    INSERT INTO outputs (series_id, revision, kind, sop_class_uid, sop_instance_uid, path, sha256, made_at)
    VALUES (1, 1, 'summary', '1.2', '1.2.3', '1/1-summary.dcm', '', '2026-01-01 00:00:00.000000');
    INSERT INTO deliveries (output_id, destination, state, attempts, created_at, next_try_at)
    VALUES (1, 'pacs', 'pending', 0, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000');
"""


def test_a_database_of_the_first_tables_keeps_its_rows_and_takes_the_new_words(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    command.upgrade(_alembic(path), "0001")
    database = Database(path)
    with database.write() as session:
        add_series(session, SeriesState.ANALYSED, revision=1)
    database.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(_A_DELIVERY_OF_THE_FIRST_TABLES)
    assert upgrade(path)[0] == "0001"
    with database.write() as session:
        for kind in set(OutputKind) - {OutputKind.SUMMARY_PAGE}:
            add_delivery(session, session.get_one(Series, 1), kind, DeliveryState.REFUSED)
    with database.read() as session:
        found = {delivery.output.kind: delivery.state for delivery in session.scalars(select(Delivery))}
        assert {output.state for output in session.scalars(select(Output))} == {OutputState.KEPT}
    assert found.pop(OutputKind.SUMMARY_PAGE) is DeliveryState.PENDING
    assert found == dict.fromkeys(set(OutputKind) - {OutputKind.SUMMARY_PAGE}, DeliveryState.REFUSED)
    database.close()


def test_on_the_way_back_nothing_is_left_that_the_older_version_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    upgrade(path)
    database = Database(path)
    with database.write() as session:
        series = add_series(session, SeriesState.DELIVERED, revision=1)
        for kind in OutputKind:
            add_delivery(session, series, kind, DeliveryState.REFUSED)
    database.close()
    command.downgrade(_alembic(path), "0001")
    with database.read() as session:
        columns = select(Output.kind, Delivery.state).join(Delivery)
        found = dict(session.execute(columns).tuples().all())
        assert len(session.scalars(select(DeliveryTry.id)).all()) == len(session.scalars(select(Output.id)).all()) == 2
    assert found == dict.fromkeys((OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE), DeliveryState.FAILED)
    database.close()


def test_what_could_not_be_made_is_forgotten_by_the_version_that_knows_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    upgrade(path)
    database = Database(path)
    with database.write() as session:
        series = add_series(session, SeriesState.ANALYSED, revision=1)
        session.add(UnmadeOutput(series=series, revision=1, kind=OutputKind.PDF, reason="no ink", at=now()))
    database.close()
    command.downgrade(_alembic(path), "0003")
    assert "unmade_outputs" not in _tables(path)
    assert upgrade(path)[0] == "0003"
    with database.read() as session:
        assert session.get_one(Series, 1).unmade == []
    database.close()


_REASONS_WITHOUT_CODES = """
    INSERT INTO assessments (series_id, revision, model, version, trained_on, summary, status, reason, unscored_slices,
        device, seconds, assessed_at)
    VALUES (1, 1, 'snr', '1', '', '', '', 'no varying tissue', '{}', 'cpu', 1, '2026-01-01 00:00:00.000000'),
        (1, 1, 'brisque', '1', '', '', '', NULL, '{}', 'cpu', 1, '2026-01-01 00:00:00.000000');
    INSERT INTO measurements (assessment_id, name, value, unit) VALUES (2, 'brisque', 1, '1');
"""


def test_reasons_from_before_they_had_codes_are_other_reasons_and_values_survive_the_way_back(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    command.upgrade(_alembic(path), "0003")
    database = Database(path)
    with database.write() as session:
        add_series(session, SeriesState.DELIVERED, revision=1)
    with sqlite3.connect(path) as connection:
        connection.executescript(_REASONS_WITHOUT_CODES)
    upgrade(path)
    with database.read() as session:
        found = {row.model: row.reason_code for row in session.scalars(select(AssessmentRow))}
    assert found == {"snr": "other-reason", "brisque": None}
    database.close()
    command.downgrade(_alembic(path), "0002")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT model, reason FROM assessments ORDER BY id").fetchall() == [
            ("snr", "no varying tissue"), ("brisque", None)
        ]  # fmt: skip
        assert connection.execute("SELECT value FROM measurements").fetchall() == [(1,)]


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    upgrade(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from the future'")
    with pytest.raises(StateError, match=r"is at revision from the future, made by a newer version"):
        upgrade(path)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ctiqa.sqlite"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"The database .*ctiqa\.sqlite cannot be used \(.+\); restore it"):
        upgrade(path)
    assert path.read_bytes() == content


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ctiqa.sqlite"
    upgrade(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[100:] = b"\xa5" * (len(content) - 100)
    path.write_bytes(content)
    with pytest.raises(StateError, match="cannot be used"):
        upgrade(path)


def test_an_interrupted_upgrade_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ctiqa.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr("alembic.ddl.impl.DefaultImpl.create_index", _no_more)
        with pytest.raises(InterruptedError):
            upgrade(path)
    upgrade(path)
    assert {table.name for table in Base.metadata.sorted_tables} <= _tables(path)


def _no_more(*_: object, **__: object) -> None:
    raise InterruptedError
