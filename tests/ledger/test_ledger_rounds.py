"""What the node does for its books by itself: when it is due, once, and not while it stops."""

from __future__ import annotations

from datetime import timedelta

from ledger_books import Books
from sqlalchemy import func, select, update

from ctiqa_node.db.books import Reconciliation
from ctiqa_node.db.columns import now
from ctiqa_node.ledger.rounds import Rounds


def readings(books: Books) -> int:
    with books.database.read() as session:
        return session.scalar(select(func.count(Reconciliation.id))) or 0


def with_settings(books: Books, **ledger: float) -> Rounds:
    changed = books.config.ledger.model_copy(update=ledger)
    return Rounds(books.config.model_copy(update={"ledger": changed}), books.database)


def test_the_books_are_read_when_the_last_reading_is_long_enough_ago(full_books: Books) -> None:
    rounds = Rounds(full_books.config, full_books.database)
    rounds.reconcile()
    rounds.reconcile()
    assert readings(full_books) == 1
    with full_books.database.write() as session:
        session.execute(update(Reconciliation).values(started_at=now() - timedelta(hours=25)))
    rounds.reconcile()
    assert readings(full_books) == 2


def test_books_that_do_not_add_up_are_recorded_as_such(full_books: Books) -> None:
    full_books.files()[0].unlink()
    Rounds(full_books.config, full_books.database).reconcile()
    with full_books.database.read() as session:
        last = session.scalars(select(Reconciliation)).one()
    assert (last.adds_up, last.troubles) == (False, 1)


def test_a_node_that_stops_ends_the_reading_and_makes_up_for_it_later(full_books: Books) -> None:
    stopping = Rounds(full_books.config, full_books.database)
    stopping.stop()
    stopping.reconcile()
    assert readings(full_books) == 0
    Rounds(full_books.config, full_books.database).reconcile()
    assert readings(full_books) == 1


def test_what_is_switched_off_is_not_done(full_books: Books) -> None:
    rounds = with_settings(full_books, reconcile_every_hours=0, backup_every_hours=0)
    rounds.reconcile()
    rounds.back_up()
    assert readings(full_books) == 0
    assert not full_books.folder.backups.exists()


def test_the_rounds_expire_pixel_data_and_sweep_results(full_books: Books) -> None:
    full_books.let_pass(8 * 86400)
    rounds = Rounds(full_books.config, full_books.database)
    rounds.expire()
    rounds.sweep()
    assert len(full_books.files()) == 8
    assert full_books.account().adds_up
