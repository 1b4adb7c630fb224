"""What the node does for its books by itself, at intervals that outlast a restart."""

from __future__ import annotations

import math
import threading
from datetime import timedelta

from sqlalchemy import select

from ctiqa_node.config import Config
from ctiqa_node.db import columns
from ctiqa_node.db.books import Reconciliation
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.errors import RetryLater
from ctiqa_node.ledger.backup import backups_of, make_backup
from ctiqa_node.ledger.files import SWEEP_HOURS, sweep_outputs
from ctiqa_node.ledger.reconcile import Stopped, reconcile, record
from ctiqa_node.ledger.removal import carry_out
from ctiqa_node.ledger.retention import expire
from ctiqa_node.logs import get_logger
from ctiqa_node.state import StateFolder

log = get_logger(__name__)

LOOK_SECONDS = 20.0
"""How often it is looked whether a reading of the books is due."""
BACKUP_SECONDS = 300.0
"""The same of a backup; a failed one is tried again after this time."""


class Rounds:
    """Called again and again by the scheduler; each call does what is due, if anything."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._database = database
        self._folder = StateFolder(config.node.state_dir)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End a reading that is going on; it is made up for after the next start."""
        self._stopping.set()

    def reconcile(self) -> None:
        """Read the books when the last reading is long enough ago."""
        every = self._config.ledger.reconcile_every_hours
        with self._database.read() as session:
            # The last one by its number: one from before the clock was set back may lie ahead.
            last = session.scalar(select(Reconciliation.started_at).order_by(Reconciliation.id.desc()).limit(1))
        if every == 0 or (last is not None and timedelta(0) <= now() - last < timedelta(hours=every)):
            return
        try:
            account = reconcile(self._config, self._database, check=self._check)
        except Stopped:
            return
        record(self._database, account)
        counts = {"instances": account.instances, "files_read": account.files_read, "bytes_read": account.bytes_read}
        if account.adds_up:
            log.info("the books add up", **counts)
        else:
            log.error(
                "the books do not add up; ctiqa-node reconcile tells what", troubles=account.trouble_count, **counts
            )

    def back_up(self) -> None:
        """Copy the database when the last copy is long enough ago."""
        settings = self._config.ledger
        made = backups_of(self._folder)
        age = columns.wall() - made[-1].stat().st_mtime if made else math.inf
        if settings.backup_every_hours == 0 or 0 <= age < settings.backup_every_hours * 3600:
            return
        try:
            backup = make_backup(self._folder, settings.backups_kept, self._config.spool.min_free_mib << 20)
        except RetryLater as error:
            log.error("no backup was made", reason=str(error))
            return
        log.info("backup made", file=backup.name, bytes=backup.stat().st_size)

    def expire(self) -> None:
        """Give up the pixel data of series that ended long ago, and remove what a crash left of an earlier round."""
        try:
            carry_out(self._database, self._folder.root)
            count = expire(self._database, self._folder, self._config.retention.days, self._check)
        except Stopped:
            return
        if count:
            log.info("pixel data expired", instances=count, days=self._config.retention.days)

    def sweep(self) -> None:
        """Remove results that no row claims: what a worker left that was killed, or whose series moved on."""
        if removed := sweep_outputs(self._database, self._folder.outputs, SWEEP_HOURS * 3600):
            log.info("results without a row removed", files=removed)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stopped
