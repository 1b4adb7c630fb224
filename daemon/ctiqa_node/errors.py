"""What can go wrong, and what the node does then.

CtiqaError
├── Rejected      this input can never be used; say why, keep it, go on with the next
├── RetryLater    nothing is wrong with the input; try again later
├── ConfigError   the configuration cannot be used; nothing was started
└── StateError    the node's own state (lock, database, spool) cannot be used; nothing was started
"""

from __future__ import annotations


class CtiqaError(Exception):
    """An error whose message is a sentence for the person who runs the node: what happened, to what, what to do."""


class Rejected(CtiqaError):
    """The input can never be used, however often it is tried."""


class RetryLater(CtiqaError):
    """The input is fine; something around it (disk, peer, device) is not ready."""


class ConfigError(CtiqaError):
    """A setting is unknown or has a value that is not allowed."""


class StateError(CtiqaError):
    """The state folder, its lock or its database cannot be used."""
