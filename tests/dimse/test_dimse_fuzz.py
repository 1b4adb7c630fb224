"""A short, seeded run of what `make fuzz` does for as long as asked."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from ctiqa_node.db.states import AssociationOutcome
from support.fuzz import Corpus, Input, association_request, echo_request, mutate, send_input, store_request
from support.peers import store
from support.reception import Reception
from support.slices import ct_datasets, part10, peers_bytes
from support.waiting import eventually

SEED, CONNECTIONS = 20261120, 40
KINDS = {
    "request", "noise", "pdus", "commands", "datasets", "nested", "lengths", "claims", "deflated", "twice", "fragments",
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> bytes:
    return peers_bytes(part10(ct_datasets(tmp_path / "honest", 1)[0]))


def ct_uid(dataset: bytes) -> str:
    """The SOP Instance UID that a dataset has."""
    return str(pydicom.dcmread(BytesIO(dataset), force=True).SOPInstanceUID)


def test_the_corpus_is_the_same_for_the_same_seed_and_has_every_kind(dataset: bytes) -> None:
    first, second = Corpus(1, dataset, "2.25.1"), Corpus(1, dataset, "2.25.1")
    made = [first.next() for _ in range(100)]
    assert made == [second.next() for _ in range(100)]
    assert {each.name for each in made} == KINDS


def test_what_is_mutated_is_taken_when_it_is_not(reception: Reception, dataset: bytes) -> None:
    honest = Input("honest", association_request(), (store_request(dataset) + echo_request(),))
    send_input(reception.port, honest, patience=20)
    # The dataset has a UID of its own: the command names another instance, and that is what is refused.
    eventually(lambda: [row.refused for row in reception.associations()] == [1])


def test_no_input_crashes_hangs_or_keeps_anything(reception: Reception, dataset: bytes, tmp_path: Path) -> None:
    corpus = Corpus(SEED, dataset, ct_uid(dataset))
    for _ in range(CONNECTIONS):
        send_input(reception.port, corpus.next())
    eventually(lambda: not reception.scp._ae.active_associations, 60)
    assert store(reception.port, ct_datasets(tmp_path / "after", 2)) == [0, 0]
    eventually(lambda: all(row.outcome is not AssociationOutcome.OPEN for row in reception.associations()))
    for row in reception.instances():
        assert reception.spool.path(row.path).is_file()


def test_an_association_that_breaks_the_protocol_beyond_its_states_is_recorded_as_ended(reception: Reception) -> None:
    # A second request within the association: pynetdicom aborts; what comes then fits none of its states.
    send_input(
        reception.port, Input("twice", association_request(), (association_request() * 3 + echo_request() * 3,)), 20
    )
    eventually(lambda: [row.outcome for row in reception.associations()] == [AssociationOutcome.ABORTED])


def test_a_command_without_its_field_ends_its_association_and_is_counted(reception: Reception) -> None:
    empty = b"\x04\x00" + (10).to_bytes(4, "big") + (6).to_bytes(4, "big") + b"\x03\x03" + b"\x00" * 4
    send_input(reception.port, Input("empty command", association_request(), (empty,)), patience=20)
    eventually(lambda: [row.outcome for row in reception.associations()] == [AssociationOutcome.ABORTED])
    eventually(lambda: reception.scp.rejections.summary()["total"] == 1)
    assert reception.scp.rejections.summary()["latest"][0]["reason"] == "broke the protocol in an association"


def test_a_mutation_changes_something(dataset: bytes) -> None:
    import random

    chance = random.Random(1)
    assert sum(mutate(chance, dataset) != dataset for _ in range(50)) > 45
