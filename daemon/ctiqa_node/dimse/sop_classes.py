"""The names of Storage SOP Classes, as a configuration writes them."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import uid as uids
from pydicom.uid import UID

from ctiqa_node.errors import ConfigError
from ctiqa_node.network_settings import Peer


def storage_class(name: str) -> UID:
    """The UID of a Storage SOP Class by its keyword (CTImageStorage) or UID.

    Raises:
        ConfigError: there is none of this name.
    """
    found = UID(name) if name[0].isdigit() else getattr(uids, name, None)
    if not isinstance(found, UID) or found.type != "SOP Class" or not found.keyword.endswith("Storage"):
        raise ConfigError(
            f"peers: {name!r} is no Storage SOP Class of the standard; write a keyword (CTImageStorage) or its UID."
        )
    return found


def require_known(peers: Iterable[Peer]) -> None:
    """Make sure that every SOP Class of every peer is one.

    Raises:
        ConfigError: one is not.
    """
    for peer in peers:
        for name in peer.sop_classes:
            storage_class(name)
