"""DICOM files of one CT series → one CtVolume in Hounsfield units, sorted by position."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctiqa_node.ct import codecs, headers
from ctiqa_node.ct.frames import Frame, read_frames, refusal
from ctiqa_node.ct.geometry import by_position, common_axes, geometry_findings, geometry_of
from ctiqa_node.ct.hounsfield import fill_hu
from ctiqa_node.ct.pixels import UndecodableError
from ctiqa_node.ct.reading import decode, decoded_ahead
from ctiqa_node.ct.scratch import Scratch, give_pages_back, new_volume
from ctiqa_node.ct.volume import CtVolume, Finding, FindingCode
from ctiqa_node.errors import Rejected

MOST_VOXELS = 4_000_000_000
_SLICES_AT_ONCE = 64
"""After so many the memory of a volume that lies in a file is given back."""
_ANYWHERE = Scratch()


def load_series(
    paths: Sequence[Path], most_voxels: int = MOST_VOXELS, threads: int = 0, scratch: Scratch = _ANYWHERE
) -> CtVolume:
    """Load the files of one series, CT Image Storage or Enhanced CT Image Storage, in any order.

    `threads` decode at once (0: one for each core). A large volume lies in a file in `scratch`. Slices whose pixels
    can't be decoded are left out, and found as UNUSABLE_INSTANCE. Raises Rejected when the files don't make one volume,
    claim more than `most_voxels`, or when more than half of the slices are unusable; RetryLater when memory is short
    now; OSError when a file can't be opened, or the disk has no room now (ENOSPC).
    """
    frames, findings = _read_all(paths)
    axes = common_axes(frames)
    places = by_position(frames, axes)
    _refuse_if_too_large([candidates[0] for candidates in places], most_voxels)
    findings += _no_image_type(frames) + _duplicates(places)
    decoded = _decode(places, _useful_threads(frames[0], threads), scratch)
    _refuse_if_mostly_unusable(frames[0].series_uid, len(places), decoded, findings)
    kept = decoded.frames
    geometry = geometry_of(kept, axes)
    tilt = max((frame.tilt_degrees for frame in kept), key=abs)
    findings += [*decoded.findings, *_padding(decoded), *geometry_findings(geometry, tilt)]
    return CtVolume(
        hu=decoded.hu[: len(kept)],
        geometry=geometry,
        sources=tuple(frame.source for frame in kept),
        headers=tuple(frame.header for frame in kept),
        findings=tuple(findings),
    )


@dataclass(slots=True)
class _Decoded:
    """The volume of at most `slices` while it fills: the first len(frames) slices of `hu` are done."""

    slices: int
    hu: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0), dtype=np.float32))
    frames: list[Frame] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    padded_slices: int = 0


def _read_all(paths: Sequence[Path]) -> tuple[list[Frame], list[Finding]]:
    frames: list[Frame] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            frames += read_frames(path)
        except headers.UnreadableFileError as error:
            unreadable.append(str(error))
    if not frames:
        reason = unreadable[0] if unreadable else "there is none"
        raise Rejected(
            f"None of the {len(paths)} files is a CT image that can be read: {reason}; send the series again."
        )
    findings = [Finding(FindingCode.UNUSABLE_INSTANCE, f"A file was left out: {reason}.") for reason in unreadable]
    return frames, findings


def _useful_threads(frame: Frame, threads: int) -> int:
    """One where the decoder holds Python's lock, or there is nothing to decode: more would only take turns."""
    if not codecs.is_available(frame.header.file_meta.TransferSyntaxUID):
        return 1
    return threads or len(os.sched_getaffinity(0))


def _decode(places: list[list[Frame]], threads: int, scratch: Scratch) -> _Decoded:
    decoded = _Decoded(len(places))
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        ahead = decoded_ahead([candidates[0] for candidates in places], pool, threads)
        for candidates, first in zip(places, ahead, strict=True):
            for frame in candidates:
                try:
                    stored = first.result() if frame is candidates[0] else decode(frame)
                except UndecodableError as error:
                    decoded.findings.append(_unusable(frame, error))
                else:
                    _fill(decoded, frame, stored, scratch)
                    break
    return decoded


def _fill(decoded: _Decoded, frame: Frame, stored: npt.NDArray[np.integer], scratch: Scratch) -> None:
    done = len(decoded.frames)
    if not done:  # not before: only a decoded frame proves the rows and columns that a header claims
        shape = (decoded.slices, frame.rows, frame.columns)
        decoded.hu = new_volume(shape, scratch, f"Series {frame.series_uid}")
    if fill_hu(decoded.hu[done], stored, frame.rescale, frame.padding):
        decoded.padded_slices += 1
    decoded.frames.append(frame)
    if done % _SLICES_AT_ONCE == 0:
        give_pages_back(decoded.hu)


def _unusable(frame: Frame, error: UndecodableError) -> Finding:
    which = f"SOP Instance {frame.source.sop_instance_uid}"
    if frame.source.frame_number is not None:
        which = f"Frame {frame.source.frame_number} of {which}"
    return Finding(FindingCode.UNUSABLE_INSTANCE, f"{which} was left out, its pixels can't be decoded: {error}.")


def _refuse_if_too_large(frames: Sequence[Frame], most_voxels: int) -> None:
    """By what the headers claim, before anything of that size is decoded."""
    voxels = sum(frame.rows * frame.columns for frame in frames)
    if voxels > most_voxels:
        problem = f"it claims {voxels / 1e6:.0f} million voxels; series.max_million_voxels is {most_voxels // 10**6}"
        raise refusal(frames[0].series_uid, problem, "raise the limit if the series is in order")


def _refuse_if_mostly_unusable(series_uid: str, slices: int, decoded: _Decoded, earlier: list[Finding]) -> None:
    unreadable = sum(finding.code is FindingCode.UNUSABLE_INSTANCE for finding in earlier)
    usable = len(decoded.frames)
    if 2 * usable >= slices + unreadable and usable:
        return
    first = (decoded.findings or earlier)[0]
    problem = f"only {usable} of {slices + unreadable} slices can be read ({first.sentence.rstrip('.')})"
    raise refusal(series_uid, problem, "send the series again, if possible uncompressed")


def _no_image_type(frames: Sequence[Frame]) -> list[Finding]:
    without = {frame.source.sop_instance_uid for frame in frames if not headers.texts(frame.header, "ImageType")}
    if not without:
        return []
    sentence = f"{len(without)} instance(s) have no Image Type, and were taken as original axial slices."
    return [Finding(FindingCode.NO_IMAGE_TYPE, sentence)]


def _duplicates(places: list[list[Frame]]) -> list[Finding]:
    extra = [frame for candidates in places for frame in candidates[1:]]
    if not extra:
        return []
    shown = ", ".join(_name(frame) for frame in extra[:3]) + (" and others" if len(extra) > 3 else "")
    shared = sum(len(candidates) > 1 for candidates in places)
    sentence = (
        f"{shared} position(s) hold more than one slice; the lowest Instance Number was kept and {len(extra)} "
        f"slice(s) left out: {shown}."
    )
    return [Finding(FindingCode.DUPLICATE_POSITION, sentence)]


def _name(frame: Frame) -> str:
    number = frame.source.frame_number
    return frame.source.sop_instance_uid + (f" frame {number}" if number is not None else "")


def _padding(decoded: _Decoded) -> list[Finding]:
    if not decoded.padded_slices:
        return []
    sentence = (
        f"Padding and values below −1500 HU, outside the reconstruction circle, were set to −1024 HU in "
        f"{decoded.padded_slices} of {len(decoded.frames)} slices."
    )
    return [Finding(FindingCode.PADDING, sentence)]
