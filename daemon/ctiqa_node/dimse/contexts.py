"""Presentation Contexts: what we take, and what we offer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StorageCommitmentPushModel,
    Verification,
)

from ctiqa_node.dimse.sop_classes import storage_class

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
COMPRESSED = (
    JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1, JPEGLossless, HTJ2KLossless, HTJ2KLosslessRPCL, RLELossless,
    JPEGLSNearLossless, JPEG2000, HTJ2K, JPEGExtended12Bit, JPEGBaseline8Bit,
)  # fmt: skip
TRANSFER_SYNTAXES = (*UNCOMPRESSED, *COMPRESSED)
"""What the decoders of `ct.loader` can read."""

ASSESSED = (CTImageStorage, EnhancedCTImageStorage)


def accepted() -> list[PresentationContext]:
    """What the SCP takes: Verification, and every Storage SOP Class of the standard.

    Instances that are never assessed are taken too: whoever sends a whole study must not see it fail half-way.
    """
    storage = [
        build_context(context.abstract_syntax, list(TRANSFER_SYNTAXES))
        for context in AllStoragePresentationContexts
        if context.abstract_syntax is not None
    ]
    return [build_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]), *storage]


def only(sop_classes: Iterable[str], contexts: Sequence[PresentationContext]) -> list[PresentationContext]:
    """Of these contexts, those of the named SOP Classes, and the services that carry no object."""
    wanted = {Verification, StorageCommitmentPushModel, *map(storage_class, sop_classes)}
    return [context for context in contexts if context.abstract_syntax in wanted]
