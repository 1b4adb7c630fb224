"""A disk that forgets: what is left of a recording when the power fails at some place of it.

The model is stricter than any one filesystem. Data is there for certain once its file was synced; a name, once its
folder was. Of what was not synced, nothing is left, or some of it by chance: whole writes and halves of them, and of
each folder the changes up to some change.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pynetdicom.dsutils import decode
from shim import Deed, Kind

_SECTOR = 512


@dataclass(eq=False, slots=True)
class _File:
    """Its durable content, and the writes (offset, data) and truncations (length, None) since the last sync."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def apply(self, offset: int, data: bytes | None) -> None:
        if data is None:
            del self.content[offset:]
            self.content.extend(bytes(offset - len(self.content)))
            return
        self.content.extend(bytes(max(0, offset - len(self.content))))
        self.content[offset : offset + len(data)] = data

    def sync(self) -> None:
        for change in self.pending:
            self.apply(*change)
        self.pending.clear()

    def after_a_cut(self, chance: random.Random | None) -> bytes:
        left = _File(bytearray(self.content))
        for offset, data in self.pending if chance is not None else ():
            assert chance is not None
            share = chance.choice((0.0, 1.0, 1.0, chance.random()))
            if data is None:
                if share == 1.0:
                    left.apply(offset, data)
            elif share:
                left.apply(offset, data if share == 1.0 else data[: int(share * len(data)) // _SECTOR * _SECTOR])
        return bytes(left.content)


@dataclass(eq=False, slots=True)
class _Folder:
    """Its durable names, and the changes (name, what it stands for now) since the last sync."""

    names: dict[str, _File | _Folder] = field(default_factory=dict)
    pending: list[tuple[str, _File | _Folder | None]] = field(default_factory=list)

    def now(self) -> dict[str, _File | _Folder]:
        return self._with(self.pending)

    def _with(self, changes: Sequence[tuple[str, _File | _Folder | None]]) -> dict[str, _File | _Folder]:
        names = dict(self.names)
        for name, meant in changes:
            if meant is None:
                names.pop(name, None)
            else:
                names[name] = meant
        return names

    def sync(self) -> None:
        self.names, self.pending = self.now(), []

    def after_a_cut(self, chance: random.Random | None) -> dict[str, _File | _Folder]:
        return self._with(self.pending[: chance.randint(0, len(self.pending))] if chance is not None else ())


class ForgetfulDisk:
    """Everything below one folder, which is there and empty at the beginning."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _Folder()
        self._inodes: dict[int, _File] = {}
        self.promised: list[str] = []
        """The SOP Instance UIDs that were answered with Success so far."""

    def do(self, deed: Deed) -> None:
        """Another deed of the recording."""
        match deed.kind:
            case Kind.CREATE:
                file = self._inodes[deed.inode] = _File()
                self._name(deed.path, file)
            case Kind.WRITE:
                self._inodes[deed.inode].pending.append((deed.offset, deed.data))
            case Kind.TRUNCATE:
                self._inodes[deed.inode].pending.append((deed.offset, None))
            case Kind.SYNC:
                self._sync(deed)
            case Kind.RENAME:
                meant = self._find(deed.path)
                self._name(deed.target, meant)
                self._name(deed.path, None)
            case Kind.UNLINK | Kind.RMDIR:
                self._name(deed.path, None)
            case Kind.MKDIR:
                self._name(deed.path, _Folder())
            case Kind.SEND:
                self.promised.extend(_answered_with_success(deed.data))

    def _sync(self, deed: Deed) -> None:
        if not deed.path:
            self._inodes[deed.inode].sync()
        elif Path(deed.path).is_relative_to(self._root):
            folder = self._find(deed.path)
            assert isinstance(folder, _Folder)
            folder.sync()

    def _find(self, path: str) -> _File | _Folder:
        found: _File | _Folder = self._top
        for part in Path(path).relative_to(self._root).parts:
            assert isinstance(found, _Folder)
            found = found.now()[part]
        return found

    def _name(self, path: str, meant: _File | _Folder | None) -> None:
        folder = self._find(str(Path(path).parent))
        assert isinstance(folder, _Folder)
        folder.pending.append((Path(path).name, meant))

    def after_a_cut(self, target: Path, chance: random.Random | None) -> None:
        """Write what is left when the power fails now: without chance nothing that was not synced."""
        target.mkdir(mode=0o700, parents=True)
        _write(self._top, target, chance)


def _write(folder: _Folder, target: Path, chance: random.Random | None) -> None:
    for name, meant in folder.after_a_cut(chance).items():
        path = target / name
        if isinstance(meant, _Folder):
            path.mkdir(mode=0o700)
            _write(meant, path, chance)
        else:
            path.write_bytes(meant.after_a_cut(chance))
            path.chmod(0o600)


def _answered_with_success(pdu: bytes) -> Iterator[str]:
    """The instances of the C-STORE responses in a P-DATA-TF PDU (PS3.8 9.3.5) whose status is Success."""
    place = 6
    while place + 6 <= len(pdu):
        length = int.from_bytes(pdu[place : place + 4], "big")
        control, body = pdu[place + 5], pdu[place + 6 : place + 4 + length]
        place += 4 + length
        if control & 1:
            command = decode(BytesIO(body), True, True)
            if command.get("CommandField") == 0x8001 and command.get("Status") == 0:
                yield str(command.AffectedSOPInstanceUID)
