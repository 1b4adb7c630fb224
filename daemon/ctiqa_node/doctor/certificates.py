"""Our certificates and those of the authorities that we trust: how long each is still good for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from ctiqa_node.config import Config
from ctiqa_node.db.columns import now
from ctiqa_node.doctor.finding import Finding, failed, fine, note

AREA = "certificates"
SOON = timedelta(days=30)


def certificates(config: Config) -> Iterator[Finding]:
    """Each certificate that a setting names; nothing where there is none."""
    tls = config.tls
    if tls.certificate is not None:
        yield _own("tls.certificate", tls.certificate)
        if tls.ca is not None:
            yield _authorities("tls.ca", tls.ca)
    for destination in config.destinations:
        theirs, where = destination.tls, f"destinations {destination.name}: tls"
        if theirs is not None and theirs.certificate is not None:
            yield _own(f"{where}.certificate", theirs.certificate)
        if theirs is not None and theirs.ca is not None:
            yield _authorities(f"{where}.ca", theirs.ca)


def _own(setting: str, path: Path) -> Finding:
    """A certificate that we show, with those between it and the authority; the first of them to end counts."""
    chain = x509.load_pem_x509_certificates(path.read_bytes())
    moment = now()
    began = max(each.not_valid_before_utc for each in chain)
    if began > moment:
        return failed(AREA, f"{setting} is not valid before {_day(began)}", "see the clock, or have it issued anew")
    return _ending(setting, _first_end(chain), moment, "have it issued anew, and restart the node")


def _authorities(setting: str, path: Path) -> Finding:
    """Authorities: as long as one is good the others may have ended, which is worth knowing."""
    found = x509.load_pem_x509_certificates(path.read_bytes())
    moment = now()
    good = [each for each in found if each.not_valid_after_utc > moment]
    to_do = "get the authority's new certificate, and restart the node"
    if good and len(good) < len(found):
        return note(AREA, f"{len(found) - len(good)} of the {len(found)} authorities in {setting} have expired", to_do)
    return _ending(setting, _first_end(found), moment, to_do)


def _ending(setting: str, end: datetime, moment: datetime, to_do: str) -> Finding:
    days = (end - moment) / timedelta(days=1)
    if end <= moment:
        return failed(AREA, f"{setting} expired {-days:.0f} days ago, on {_day(end)}: peers refuse it", to_do)
    if end - moment < SOON:
        return note(AREA, f"{setting} expires in {days:.0f} days, on {_day(end)}", to_do)
    return fine(AREA, f"{setting} is good for {days:.0f} days, until {_day(end)}")


def _first_end(found: Sequence[x509.Certificate]) -> datetime:
    return min(each.not_valid_after_utc for each in found)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
