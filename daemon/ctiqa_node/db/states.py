"""The words that the database uses for how things stand."""

from __future__ import annotations

from enum import StrEnum


class SeriesState(StrEnum):
    """Where a series stands."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    ANALYSING = "analysing"
    ANALYSED = "analysed"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    SKIPPED = "skipped"
    FAILED = "failed"
    STALE = "stale"


class AssociationOutcome(StrEnum):
    """How an association ended."""

    OPEN = "open"
    RELEASED = "released"
    ABORTED = "aborted"
    REJECTED = "rejected"
    LOST = "lost"
    """The node stopped while it was open."""


class InstanceState(StrEnum):
    """What a received instance counts as."""

    KEPT = "kept"
    CONFLICT = "conflict"
    """Its SOP Instance UID came before with other content; kept apart, never assessed."""


class JobState(StrEnum):
    """Where a job stands."""

    TODO = "todo"
    DOING = "doing"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    DROPPED = "dropped"


class OutputState(StrEnum):
    """Whether the file of an output is there."""

    KEPT = "kept"
    REMOVING = "removing"
    """It is to go, and may have gone already."""
    REMOVED = "removed"


class DeliveryState(StrEnum):
    """Where the sending of one object to one destination stands."""

    PENDING = "pending"
    UNCOMMITTED = "uncommitted"
    """The destination has stored it, and is asked to commit to keep it."""
    SENT = "sent"
    """And committed, where the destination is asked to."""
    FAILED = "failed"
    REFUSED = "refused"
    """The destination does not take objects of this SOP Class."""
    SUPERSEDED = "superseded"
    DROPPED = "dropped"


OPEN_DELIVERIES = frozenset({DeliveryState.PENDING, DeliveryState.UNCOMMITTED})
"""Something is still to happen to these by itself."""


class OutputKind(StrEnum):
    """What an output is; `config.ObjectSwitches` has a switch of each name."""

    STRUCTURED_REPORT = "sr"
    SUMMARY_PAGE = "summary"
    QUALITY_MAPS = "quality_maps"
    PARAMETRIC_MAP = "parametric_map"
    KEY_OBJECTS = "key_objects"
    PDF = "pdf"
    TEXT_REPORT = "text_report"
