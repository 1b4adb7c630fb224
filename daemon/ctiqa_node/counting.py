"""Whether an archive has more of a series than has come here: asked when it falls quiet, and never waited for long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ctiqa_node.config import Config
from ctiqa_node.db.columns import now
from ctiqa_node.db.evidence import ArchiveCount, archive_count
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState
from ctiqa_node.db.tables import Instance, Series
from ctiqa_node.destination_settings import Entity
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.query import Counted, SeriesName, count_instances
from ctiqa_node.dimse.storage_scu import Patience
from ctiqa_node.dimse.tls import client_tls
from ctiqa_node.errors import ConfigError
from ctiqa_node.logs import get_logger
from ctiqa_node.series import WAITING_FOR_QUIET

log = get_logger(__name__)

AGAIN_SECONDS = 10.0
"""So long after an archive was asked it is asked again about a series of which it has more."""
SILENCE_SECONDS = 60.0
"""So long an archive that did not answer is not asked about another series."""
BATCH = 20


class Counting:
    """Asks the configured archive, and says whether a quiet series may be closed. Without an archive it may always."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._settings = config.completeness
        self._database = database
        self._archive = config.queried_archive()
        self._silent: tuple[float, str] | None = None

    def ask_due(self) -> None:
        """Ask about all series that have fallen quiet since they were asked about, or of which the archive has more."""
        if self._archive is None:
            return
        with self._database.read() as session:
            due = [each for each in session.scalars(self._quiet()) if self._is_due(session, each)][:BATCH]
        if not due:
            return
        counted = self._ask(self._archive, [SeriesName(s.study_instance_uid, s.series_instance_uid) for s in due])
        with self._database.write() as session:
            for series, found in zip(due, counted, strict=True):
                if session.get(Series, series.id) is not None:  # not purged meanwhile
                    _write_down(session, series.id, self._archive.ae_title, found)

    def may_close(self, session: Session, series: Series) -> bool:
        """Whether nothing more is expected of a quiet series: the archive has no more, or it is too late to wait."""
        if self._archive is None:
            return True
        quiet = now() - series.last_instance_at
        known = archive_count(session, series.id)
        if known is None or known.asked_at < series.last_instance_at:
            # It is about to be asked. Should nobody do that, the series goes on all the same.
            return quiet > timedelta(seconds=self._config.series.quiet_seconds + 4 * self._settings.answer_seconds)
        if known.instances is None or known.instances <= instances_here(session, series):
            return True
        return quiet > timedelta(seconds=self._settings.wait_seconds)

    def _quiet(self) -> Select[Series]:
        before = now() - timedelta(seconds=self._config.series.quiet_seconds)
        of_it = select(Series).where(Series.state.in_(WAITING_FOR_QUIET), Series.last_instance_at <= before)
        return of_it.order_by(Series.last_instance_at)

    def _is_due(self, session: Session, series: Series) -> bool:
        known = archive_count(session, series.id)
        if known is None or known.asked_at < series.last_instance_at:
            return True
        return not self.may_close(session, series) and now() - known.asked_at >= timedelta(seconds=AGAIN_SECONDS)

    def _ask(self, archive: Entity, wanted: Sequence[SeriesName]) -> list[Counted]:
        if self._silent is not None and time.monotonic() - self._silent[0] < SILENCE_SECONDS:
            return [Counted(None, self._silent[1])] * len(wanted)
        try:
            tls = None if archive.tls is None else client_tls(archive.tls, archive.host, "completeness.archive: tls")
        except ConfigError as error:
            return [Counted(None, str(error))] * len(wanted)
        peer = ApplicationEntity(archive.ae_title, archive.host, archive.port)
        patience = Patience(self._settings.answer_seconds, self._settings.answer_seconds)
        counted = count_instances(peer, self._config.node.ae_title, wanted, patience, tls)
        trouble = next((each.trouble for each in counted if each.trouble is not None), None)
        self._silent = None if trouble is None else (time.monotonic(), trouble)
        if trouble is not None:
            log.warning("archive does not say how many instances a series has", reason=trouble)
        return counted


def instances_here(session: Session, series: Series) -> int:
    """How many instances of a series came, each SOP Instance UID once."""
    of_it = (Instance.series_id == series.id, Instance.state == InstanceState.KEPT)
    return session.scalar(select(func.count(Instance.id)).where(*of_it)) or 0


def _write_down(session: Session, series_id: int, archive: str, found: Counted) -> None:
    row = archive_count(session, series_id) or ArchiveCount(series_id=series_id)
    row.archive, row.asked_at, row.instances, row.trouble = archive, now(), found.instances, found.trouble
    session.add(row)
