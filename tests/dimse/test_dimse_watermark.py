"""Little room: who sends already goes on, nobody else may begin, transiently, until there is room again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom.association import Association

from ctiqa_node.config import SpoolSection
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.spool import Spool, Watermark
from support.peers import associated, request
from support.reception import Reception
from support.slices import ct_datasets
from support.waiting import eventually

MIB = 1 << 20
SENTENCE = "too little room in the spool (spool.refuse_associations_below_mib is 80)"


class Disk(Spool):
    """A spool whose disk has as much room as the test says."""

    def __init__(self, root: Path, free_mib: float) -> None:
        super().__init__(root, 0)
        self.free_mib = free_mib

    def free_bytes(self) -> int:
        return int(self.free_mib * MIB)


def _answer(association: Association) -> tuple[int | None, int | None, int | None] | None:
    if association.is_established:
        association.release()
        return None
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert answer is not None
    return answer.result, answer.result_source, answer.diagnostic


def test_it_is_reached_below_and_left_an_eighth_above(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "spool", 100)
    watermark = Watermark(disk, 80)
    said = []
    for disk.free_mib in (100, 80, 79.9, 85, 89.9, 90, 85, 80, 79):
        said.append(watermark.congestion() == SENTENCE)
    assert said == [False, False, True, True, True, False, False, False, True]


def test_a_spool_that_has_gone_is_one_without_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 0)
    watermark = Watermark(spool, 1)
    assert watermark.congestion() is None
    spool.root = tmp_path / "gone"
    assert watermark.congestion() == "the spool cannot be looked at: No such file or directory"


def test_zero_never_rejects_anybody(tmp_path: Path) -> None:
    assert Watermark(Disk(tmp_path / "spool", 0), 0).congestion() is None


@pytest.mark.parametrize(("settings", "watermark"), [({}, 1024), ({"min_free_mib": 7}, 14)])
def test_it_is_twice_what_is_kept_free_unless_configured(settings: dict[str, int], watermark: int) -> None:
    assert SpoolSection(**settings).watermark_mib == watermark
    assert SpoolSection(**settings, refuse_associations_below_mib=3).watermark_mib == 3


def test_new_associations_wait_and_the_open_one_goes_on(
    open_reception: Callable[..., Reception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reception = open_reception(watermark_mib=80)
    room = {"mib": 1000}
    monkeypatch.setattr(reception.spool, "free_bytes", lambda: room["mib"] * MIB)
    first, second = ct_datasets(tmp_path / "ct", 2)
    with associated(reception.port) as association:
        assert association.send_c_store(first).Status == 0
        room["mib"] = 79
        assert [_answer(request(reception.port)) for _ in range(3)] == [(2, 3, 1)] * 3
        assert association.send_c_store(second).Status == 0
    room["mib"] = 90
    assert _answer(request(reception.port)) is None
    rejected = eventually(
        lambda: [row for row in reception.associations() if row.outcome is AssociationOutcome.REJECTED]
    )
    assert [row.detail for row in rejected] == [SENTENCE]
    assert reception.scp.rejections.summary()["total"] == 3
