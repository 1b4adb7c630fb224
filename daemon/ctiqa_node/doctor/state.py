"""The node's own state: is it running, does it answer, is its database sound."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DatabaseError

from ctiqa_node.config import Config
from ctiqa_node.db.revision import current_and_head
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import echo
from ctiqa_node.dimse.tls import own_node_tls
from ctiqa_node.doctor.finding import Finding, failed, fine, note
from ctiqa_node.state import StateFolder


def peers(config: Config) -> Finding:
    """Who may send."""
    area = "peers"
    if not config.peers:
        return failed(
            area, "nobody may send: no peer is configured", "name the senders under peers, or write peers: any"
        )
    open_ = [peer.name for peer in config.peers if not peer.ae_titles and not peer.addresses]
    if open_:
        return note(area, f"everyone may send, from anywhere (peer {open_[0]})", "name AE titles and addresses")
    return fine(area, f"{len(config.peers)} configured: {', '.join(peer.name for peer in config.peers)}")


def running_node(config: Config, own: ApplicationEntity) -> Finding:
    """Whether the node of this machine answers C-ECHO, or at least the association."""
    trouble = echo(own, config.node.ae_title, config.delivery.connection_timeout_seconds, own_node_tls(config.tls))
    secured = " over TLS" if config.tls.certificate else ""
    if trouble is None:
        return fine("port", f"our node answers on {own}{secured}")
    if "rejected the association" in trouble:
        return fine("port", f"our node answers on {own}{secured}, and lets nobody in from this machine (peers)")
    return failed("port", f"our node runs, but {trouble}", "see its log; restart it")


def database(folder: StateFolder) -> Iterator[Finding]:
    """Whether SQLite finds the file sound, its tables are those of this version, and how large it is."""
    area, path = "database", folder.database
    if not path.exists():
        yield note(area, f"{path} is not there yet; the node makes it")
        return
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as connection:
            answer = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
        found, head = current_and_head(path)
    except (sqlite3.Error, DatabaseError, OSError) as error:
        yield failed(area, f"{path} cannot be read: {error}", "restore it from a backup; the spool keeps the instances")
        return
    if answer != ["ok"]:
        yield failed(area, f"{path} is damaged: {'; '.join(answer)}", "stop the node and restore it from a backup")
        return
    size = sum(each.stat().st_size for each in folder.root.glob(f"{path.name}*")) / 1e6
    if found != head:
        yield failed(area, f"its tables are of revision {found or 'none'}, not {head}", "`ctiqa-node db upgrade`")
    else:
        yield fine(area, f"sound, at revision {head}, {size:.1f} MB")
