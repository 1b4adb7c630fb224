"""The receiving half of a node in this process: SCP on a free port, ingest, spool, database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import select

from ctiqa_node.config import NodeSection, SeriesSection
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Association, Base, Instance, Job, Series
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from ctiqa_node.dimse.storage_scp import NO_COMMITMENT, NO_TLS, StorageScp
from ctiqa_node.ingest import Ingest
from ctiqa_node.network_settings import Peer, TlsSection
from ctiqa_node.spool import Spool, Watermark
from support.rows import new_database

QUIET_SECONDS = 0.4


class Reception:
    """A Storage SCP with all that stands behind it; settings of the `node` section as keywords."""

    def __init__(
        self,
        root: Path,
        *,
        min_free_bytes: int = 0,
        watermark_mib: int = 0,
        spool: Path | None = None,
        quiet_seconds: float = QUIET_SECONDS,
        peers: Sequence[Peer] = (Peer(name="any"),),
        tls: TlsSection = NO_TLS,
        commitment: Callable[[Database, Spool], CommitmentScp] = lambda *_: NO_COMMITMENT,
        **settings: Any,
    ) -> None:
        root.mkdir(parents=True)
        self.database = new_database(root / "ctiqa.sqlite")
        self.spool = Spool(spool or root / "spool", min_free_bytes)
        self.ingest = Ingest(self.database, self.spool, SeriesSection(quiet_seconds=quiet_seconds))
        defaults: dict[str, Any] = {"address": "127.0.0.1", "port": 0, "shutdown_seconds": 3}
        self.watermark = Watermark(self.spool, watermark_mib)
        section, service = NodeSection(**{**defaults, **settings}), commitment(self.database, self.spool)
        self.scp = StorageScp(section, peers, self.database, self.ingest, tls, service, self.watermark.congestion)

    @property
    def port(self) -> int:
        return self.scp.port

    def __enter__(self) -> Reception:
        self.scp.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scp.stop()
        self.database.close()

    def rows(self, table: type[Any]) -> Sequence[Any]:
        """All rows of a table, in the order in which they came."""
        assert issubclass(table, Base)
        with self.database.read() as session:
            return session.scalars(select(table).order_by(table.id)).all()

    def associations(self) -> Sequence[Association]:
        return self.rows(Association)

    def instances(self) -> Sequence[Instance]:
        return self.rows(Instance)

    def series(self) -> Sequence[Series]:
        return self.rows(Series)

    def jobs(self) -> Sequence[Job]:
        return self.rows(Job)

    def let_pass(self, seconds: float) -> None:
        """Make all series as old as if so much time had passed since their last instance."""
        self.ingest._heard.clear()
        with self.database.write() as session:
            for series in session.scalars(select(Series)):
                series.last_instance_at -= timedelta(seconds=seconds)

    def files(self) -> list[Path]:
        """The files in the spool, whatever folder they lie in."""
        return sorted(path for path in self.spool.root.rglob("*") if path.is_file())
