"""Telling senders what we commit to: over the association of their request while it is there, else over one of ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from sqlalchemy.exc import DatabaseError

from ctiqa_node.commitment.answering import Requests
from ctiqa_node.config import Config
from ctiqa_node.db.commitments import CommitmentRequest
from ctiqa_node.db.session import Database
from ctiqa_node.destination_settings import Entity
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.access import Caller
from ctiqa_node.dimse.commitment import Report, Request, Said, report_over, send_report
from ctiqa_node.dimse.storage_scu import Patience
from ctiqa_node.dimse.tls import client_tls
from ctiqa_node.errors import ConfigError
from ctiqa_node.logs import get_logger
from ctiqa_node.spool import Spool

log = get_logger(__name__)

POLL_SECONDS = 0.2
IDLE_SECONDS = 0.5
"""So long nothing must have come over an association before we report over it: a sender that is about to send
more would take our report for the answer to what it sent."""
BUSY_SECONDS = 60.0
"""An association that is never idle is waited for no longer."""


class _Stopped(Exception):
    """The node stops in the middle of a judgement, which is made again after the next start."""


class _Live:
    """The association over which a request came, and when it was last used."""

    def __init__(self, association: Association) -> None:
        self.association = association
        self.since = self._used = time.monotonic()
        association.bind(evt.EVT_DIMSE_RECV, self._note)

    def _note(self, event: evt.Event) -> None:
        del event
        self._used = time.monotonic()

    @property
    def is_there(self) -> bool:
        """Whether it is still established."""
        return bool(self.association.is_established)

    @property
    def is_idle(self) -> bool:
        """Whether its sender waits."""
        return time.monotonic() - self._used >= IDLE_SECONDS

    @property
    def is_awaited(self) -> bool:
        """Whether it is worth waiting until it is idle."""
        return self.is_there and not self.is_idle and time.monotonic() - self.since < BUSY_SECONDS


class Reporter:
    """Takes requests in, and tells their senders; what could not be told waits in the database."""

    def __init__(self, config: Config, database: Database, spool: Spool) -> None:
        self._settings = config.delivery
        self._addresses = requesters(config)
        self._stopping = threading.Event()
        self._requests = Requests(database, spool, config.delivery, self._check)
        self._live: dict[int, _Live] = {}
        self._thread = threading.Thread(target=self._run, name="commitment-reports", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Finish the report that is being sent; the others wait in the database."""
        self._stopping.set()

    def wait(self, timeout: float) -> None:
        """Wait for the end."""
        self._thread.join(max(timeout, 0))

    def take(self, caller: Caller, request: Request, association: Any) -> None:
        """Take a request in; it is on disk when this returns.

        Raises:
            RetryLater: it cannot be written now.
        """
        live = _Live(association)
        self._live[self._requests.note(caller, request, IDLE_SECONDS)] = live

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.report_due()
            except _Stopped:
                return
            except DatabaseError as error:
                log.error("commitments could not be recorded", error=str(error.orig))
                self._stopping.wait(self._settings.first_retry_seconds)
            except Exception:  # the top of the loop: nothing else would ever answer a sender again
                log.exception("answering for commitment failed")
                self._stopping.wait(self._settings.first_retry_seconds)

    def report_due(self) -> None:
        """Tell every sender whose time has come; a sender that cannot be told puts off its other requests, too."""
        put_off: set[str] = set()
        for request in self._requests.due():
            self._check()
            live = self._live.get(request.id)
            if (live is not None and live.is_awaited) or request.calling_ae_title in put_off:
                continue
            if not self._tell(request, live):
                put_off.add(request.calling_ae_title)

    def _tell(self, request: CommitmentRequest, live: _Live | None) -> bool:
        report = self._requests.judge(request)
        self._live.pop(request.id, None)
        if not report.committed and not report.failed:
            self._requests.put_off(request, "what it asked for was purged", for_ever=True)
            return True
        said = None
        if live is not None and live.is_there and live.is_idle:
            said = report_over(live.association, request.calling_ae_title, report)
        if said is None or not said.ok:
            said = self._over_own(request, report, said)
        if said.ok:
            self._requests.told(request, report)
            return True
        self._requests.put_off(request, said.sentence, for_ever=request.calling_ae_title not in self._addresses)
        return False

    def _over_own(self, request: CommitmentRequest, report: Report, before: Said | None) -> Said:
        to = self._addresses.get(request.calling_ae_title)
        if to is None:
            why = f"no address of {request.calling_ae_title} is configured (commitment.report_to)"
            over_its = before.sentence if before is not None else "its association has ended"
            return Said(False, None, f"{over_its}, and {why}")
        try:
            tls = None if to.tls is None else client_tls(to.tls, to.host, f"{to.ae_title}: tls")
        except ConfigError as error:
            return Said(False, None, str(error))
        peer = ApplicationEntity(to.ae_title, to.host, to.port)
        patience = Patience(self._settings.connection_timeout_seconds, self._settings.answer_timeout_seconds)
        return send_report(peer, request.called_ae_title, report, patience, tls)


def requesters(config: Config) -> Mapping[str, Entity]:
    """Where senders take our reports, by AE title: those that are named for it, and the destinations."""
    found = {
        each.ae_title: Entity(ae_title=each.ae_title, host=each.host, port=each.port, tls=each.tls)
        for each in config.destinations
    }
    return found | {each.ae_title: each for each in config.commitment.report_to}
