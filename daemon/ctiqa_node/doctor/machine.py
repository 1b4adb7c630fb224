"""The machine: port, clock, disk, file descriptors."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ctiqa_node.config import Config, NodeSection
from ctiqa_node.db.columns import now
from ctiqa_node.db.tables import Association, Heartbeat, Series
from ctiqa_node.doctor.finding import Finding, failed, fine, note

OLDEST_SENSIBLE = datetime(2025, 1, 1, tzinfo=UTC)
FUTURE = timedelta(minutes=5)
SAMPLE_SECONDS = 0.2
DRIFT_SECONDS = 0.1
TEST_BYTES = 8 << 20
SLOW_MB_PER_SECOND = 20.0
DESCRIPTORS_ALONE = 128
DESCRIPTORS_FOR_ONE_ASSOCIATION = 4
"""Its socket, the file that is written, and SQLite's."""
_STATUS_OFFSET = 40
_UNSYNCHRONISED = 0x40
"""Of adjtimex(2): where `status` lies in struct timex with 64-bit longs, and its flag STA_UNSYNC."""


def port_to_listen_on(settings: NodeSection) -> Finding:
    """Whether a node that is not running could listen."""
    area, where = "port", f"{settings.address}:{settings.port}"
    if settings.port == 0:
        return fine(area, "node.port is 0: the node takes a free one")
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.address, settings.port))
    except PermissionError:
        return failed(
            area,
            f"{where} may not be listened on by this user",
            "take a port from 1024 on, or run it by the systemd unit",
        )
    except OSError as error:
        return failed(
            area,
            f"{where} cannot be had: {error.strerror}",
            "see who has it (`ss -ltnp`), or set node.address, node.port",
        )
    return fine(area, f"{where} is free for the node")


def clock(session: Session | None) -> Iterator[Finding]:
    """Whether the clock is sensible: later than what the database has, even, and synchronised."""
    area, moment = "clock", now()
    wall, monotonic = time.time(), time.monotonic()
    latest = _latest(session) if session is not None else None
    to_do = "set the clock, and let chrony or systemd-timesyncd keep it"
    if moment < OLDEST_SENSIBLE:
        yield failed(area, f"it is {moment:%Y-%m-%d %H:%M} UTC here, long ago", to_do)
    elif latest is not None and latest - moment > FUTURE:
        yield failed(
            area, f"it is {moment:%Y-%m-%d %H:%M} UTC here, and the database has {latest:%Y-%m-%d %H:%M}", to_do
        )
    else:
        yield fine(area, f"{moment:%Y-%m-%d %H:%M:%S} UTC")
    time.sleep(SAMPLE_SECONDS)
    if abs((time.time() - wall) - (time.monotonic() - monotonic)) > DRIFT_SECONDS:
        yield failed(area, "the wall clock jumps", "see what sets it; one program may, not two")
    synchronised = _synchronised()
    if synchronised is None:
        yield note(area, "whether it is synchronised (NTP) cannot be read here")
    elif not synchronised:
        yield note(area, "the kernel says that it is not synchronised (NTP)", "set up chrony or systemd-timesyncd")
    else:
        yield fine(area, "synchronised (NTP), says the kernel")


def _latest(session: Session) -> datetime | None:
    columns = (Heartbeat.at, Series.last_instance_at, Association.opened_at)
    moments = [session.scalar(select(func.max(column))) for column in columns]
    return max((moment for moment in moments if moment is not None), default=None)


def _synchronised() -> bool | None:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(512)
    if not hasattr(libc, "adjtimex") or ctypes.sizeof(ctypes.c_long) != 8 or libc.adjtimex(buffer) < 0:
        return None
    status = int.from_bytes(buffer.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little")
    return not status & _UNSYNCHRONISED


def disk(config: Config) -> Iterator[Finding]:
    """Room against the watermark, and whether what is written stays written."""
    area, root = "disk", config.node.state_dir
    if not root.exists():
        yield note(area, f"{root} is not there yet; the node makes it")
        root = next(folder for folder in root.parents if folder.exists())
    free, least, watermark = shutil.disk_usage(root).free >> 20, config.spool.min_free_mib, config.spool.watermark_mib
    if free < least:
        yield failed(
            area, f"{free} MiB free in {root}: instances are refused with 0xA700", f"make room for {least} MiB and more"
        )
    elif free < watermark:
        yield failed(
            area, f"{free} MiB free in {root}: new associations are rejected, transiently",
            f"make room for {watermark} MiB and more (spool.refuse_associations_below_mib)",
        )  # fmt: skip
    elif free < 2 * watermark:
        yield note(area, f"{free} MiB free in {root}; below {watermark} MiB nobody may begin to send", "make room soon")
    else:
        yield fine(area, f"{free} MiB free in {root}; {least} MiB are kept free")
    if root == config.node.state_dir:
        yield _written(root)


def _written(folder: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            began = time.monotonic()
            file.write(os.urandom(TEST_BYTES))
            file.flush()
            os.fsync(file.fileno())
            seconds = time.monotonic() - began
    except OSError as error:
        return failed("disk", f"{folder} cannot be written: {error.strerror}", "run as the node's user; see the disk")
    speed = TEST_BYTES / 1e6 / max(seconds, 1e-6)
    what = f"{TEST_BYTES >> 20} MiB written and synced in {seconds:.2f} s ({speed:.0f} MB/s)"
    if speed < SLOW_MB_PER_SECOND:
        return note("disk", f"{what}: slow", "each instance is synced before it is answered; use a local disk")
    return fine("disk", what)


def file_descriptors(config: Config, node_pid: int | None) -> Finding:
    """Whether the node, or this process where none runs, may open as many files as its associations need."""
    area = "files"
    needed = DESCRIPTORS_ALONE + DESCRIPTORS_FOR_ONE_ASSOCIATION * config.node.max_associations
    limit = resource.prlimit(node_pid or 0, resource.RLIMIT_NOFILE)[0]
    whose = "the node" if node_pid else "this shell"
    what = f"{whose} may have {limit} files open; {config.node.max_associations} associations need {needed}"
    if limit != resource.RLIM_INFINITY and limit < needed:
        return failed(area, what, "raise LimitNOFILE in the unit (ulimit -n), or lower node.max_associations")
    return fine(area, what)
