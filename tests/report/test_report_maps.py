"""The quality maps, read back with pydicom: pictures over the slices, and numbers over the slices."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.pixels.processing import apply_rescale

from ctiqa_node.report.content import SliceChoice
from ctiqa_node.report.map_frame import draw_map_frame, mapped_slices, resampled
from ctiqa_node.report.parametric_map import parametric_map
from ctiqa_node.report.quality_maps import quality_map_capture

PICTURE = (slice(106, 930), slice(24, 848))
BODY = (slice(480, 560), slice(250, 620))  # of the picture, in the middle of the body
AIR = (slice(112, 200), slice(30, 840))
BACKGROUND = (13, 17, 23)


def _read(dataset):
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


def _first_frame(report):
    return quality_map_capture(report).pixel_array.reshape(-1, 1024, 1024, 3)[0]


def _with_maps(report, maps):
    return replace(report, models=(replace(report.models[0], maps=maps), *report.models[1:]))


def test_the_frames_are_the_notable_slices_the_worst_first(make_report, make_volume):
    result = _read(quality_map_capture(make_report(make_volume(12))))
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert result.pixel_array.shape == (4, 1024, 1024, 3)
    assert (result.PhotometricInterpretation, result.PlanarConfiguration) == ("RGB", 0)
    assert result.BurnedInAnnotation == "YES"
    assert list(result.FrameLabelVector) == ["Slice 6", "Slice 11", "Slice 4", "Slice 1"]
    assert list(result.PageNumberVector) == [1, 2, 3, 4]
    assert len(result.SourceImageSequence) == 4


def test_all_slices_come_in_their_order_and_at_half_the_size_and_each_is_progress(make_report, make_volume):
    report = replace(make_report(make_volume(3)), map_slices=SliceChoice.ALL)
    shares = []
    result = _read(quality_map_capture(report, shares.append))
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    assert result.pixel_array.shape == (3, 512, 512, 3)
    assert list(result.FrameLabelVector) == [f"Slice {number}" for number in range(1, 4)]


def test_slices_that_the_model_left_out_have_no_frame(make_report, make_volume):
    report = make_report(make_volume(4))
    left_out = replace(report.models[0], unscored_slices={0: "mostly air", 3: "mostly air"})
    result = quality_map_capture(replace(report, models=(left_out,), map_slices=SliceChoice.ALL))
    assert list(result.FrameLabelVector) == ["Slice 2", "Slice 3"]


def test_the_body_is_coloured_by_quality_and_the_air_is_not(make_report, make_volume):
    report, frames = make_report(make_volume(1)), {}
    for value in (128, 255):
        maps = np.full((1, 24, 24), value, dtype=np.uint8)
        frames[value] = _first_frame(_with_maps(report, maps))
    for frame in frames.values():
        assert np.ptp(frame[AIR].astype(int), axis=2).max() == 0
    worse, better = (frames[value][BODY].reshape(-1, 3).mean(axis=0) for value in (128, 255))
    assert worse[2] > worse[0] + 20  # bluish
    assert better[0] > better[2] + 50  # yellow
    assert better.sum() > worse.sum() + 50  # and brighter, for who sees no colours


def test_the_anatomy_shows_through_the_map(make_report, make_volume):
    volume = make_volume(2)
    volume.hu[:, 44:52, 30:40] = 200.0
    maps = np.full((2, 24, 24), 230, dtype=np.uint8)
    frame = _first_frame(_with_maps(make_report(volume), maps)).astype(int)
    scale = 824 / 96
    bright = frame[106 + int(48 * scale), 24 + int(35 * scale)]
    beside = frame[106 + int(48 * scale), 24 + int(50 * scale)]
    assert bright.sum() > beside.sum() + 60


def _half_bad(slices):
    maps = np.full((slices, 96, 96), 240, dtype=np.uint8)
    maps[:, :, :48] = 140
    return maps


def test_contours_and_numbers_stand_between_good_and_bad(make_report, make_volume):
    report = make_report(make_volume(1))
    smooth = _first_frame(_with_maps(report, np.full((1, 96, 96), 240, dtype=np.uint8)))
    split = _first_frame(_with_maps(report, _half_bad(1)))
    white = {name: (page[PICTURE] > 250).all(axis=2) for name, page in (("smooth", smooth), ("split", split))}
    assert white["split"].sum() > 10 * white["smooth"].sum()
    columns = np.flatnonzero((white["split"] & ~white["smooth"]).any(axis=0))
    assert 0.42 * 824 < columns.min() < columns.max() < 0.58 * 824


def test_a_legend_with_numbers_and_a_colour_bar_stand_beside_the_picture(report):
    frame = draw_map_frame(report, mapped_slices(report)[0])
    bar = frame[140:896, 872:880].astype(int)
    assert bar[:50].mean() > bar[-50:].mean() + 60
    for rows, columns in ((slice(938, 958), slice(24, 700)), (slice(990, 1012), slice(24, 340))):
        assert (frame[rows, columns] != BACKGROUND).any(axis=2).sum() > 500
    assert not (frame[:, :16] != BACKGROUND).any()
    assert not (frame[:, 1010:] != BACKGROUND).any()


def test_the_numbers_below_follow_the_map(report):
    def legend(value):
        maps = np.full((6, 24, 24), value, dtype=np.uint8)
        altered = _with_maps(report, maps)
        return draw_map_frame(altered, mapped_slices(altered)[0])[936:956, 400:]

    assert not np.array_equal(legend(128), legend(250))
    assert np.array_equal(legend(128), legend(128))


def test_a_slice_that_is_not_square_is_not_stretched(make_report, make_volume):
    volume = make_volume(2)
    narrow = replace(volume, hu=np.ascontiguousarray(volume.hu[:, 24:72, :]))
    frame = _first_frame(make_report(narrow))
    assert (frame[112:300, 300:600] == BACKGROUND).all()  # above the slice
    assert (frame[320, 40:100] == 0).all()  # its own air
    assert frame[515, 430].sum() > 100


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 60), st.integers(8, 60), st.integers(0, 255))
def test_resampling_keeps_an_even_map_and_takes_the_shape_of_the_slice(height, width, rows, columns, value):
    quality = resampled(np.full((height, width), value, dtype=np.uint8), (rows, columns))
    assert quality.shape == (rows, columns)
    assert np.allclose(quality, value / 255, atol=1e-6)


def _ramp(slices):
    maps = np.empty((slices, 96, 96), dtype=np.uint8)
    for z in range(slices):
        maps[z] = 10 * z + np.arange(96)[None, :]
    return maps


@pytest.mark.parametrize("enhanced", [False, True])
def test_each_frame_of_the_parametric_map_is_the_map_of_the_slice_that_it_names(make_report, make_volume, enhanced):
    volume = make_volume(12, enhanced=enhanced)
    maps = _ramp(12)
    result = _read(parametric_map(_with_maps(make_report(volume), maps)))
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    assert (result.Rows, result.Columns, result.NumberOfFrames) == (96, 96, 12)
    assert result.FrameOfReferenceUID == volume.headers[0].FrameOfReferenceUID
    mapping = result.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    quality = result.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    seen = []
    for frame, values in zip(result.PerFrameFunctionalGroupsSequence, quality, strict=True):
        named = frame.DerivationImageSequence[0].SourceImageSequence[0]
        z = next(
            z
            for z, source in enumerate(volume.sources)
            if source.sop_instance_uid == named.ReferencedSOPInstanceUID
            and source.frame_number == named.get("ReferencedFrameNumber")
        )
        assert named.ReferencedSOPClassUID == volume.sources[z].sop_class_uid
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, volume.geometry.positions[z])
        assert np.allclose(values, maps[z] / 255, atol=1e-4)
        seen.append(z)
    assert seen == list(range(12))
    assert len(result.SourceImageSequence) == (1 if enhanced else 12)
    shared = result.SharedFunctionalGroupsSequence[0]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.7, 0.7]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]


def test_a_small_map_covers_its_slice_and_a_viewer_needs_no_rescaling(report):
    maps = np.zeros((6, 24, 24), dtype=np.uint8)
    maps[:, :12] = 255
    result = _read(parametric_map(_with_maps(report, maps)))
    stored = result.pixel_array[0]
    assert stored.dtype == np.float32
    assert (stored[:40] == 1).all()
    assert (stored[56:] > 0).all()  # quality 0 is a value; 0 is none
    assert np.allclose(stored[56:], 0, atol=2e-5)
    transformation = result.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    assert np.array_equal(apply_rescale(stored, transformation), stored)


def test_slices_without_a_map_have_no_value(report):
    left_out = replace(report.models[0], unscored_slices={2: "mostly air"})
    volume = report.volume
    result = _read(parametric_map(replace(report, models=(left_out,))))
    mapping = result.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert result.FloatPixelPaddingValue == 0 < mapping.DoubleFloatRealWorldValueFirstValueMapped
    for frame, stored in zip(result.PerFrameFunctionalGroupsSequence, result.pixel_array, strict=True):
        named = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert (stored == 0).all() == (named == volume.sources[2].sop_instance_uid)


@pytest.mark.parametrize(("part", "meaning"), [("CHEST", "Chest"), ("ABDOMEN", "Abdomen"), ("", None), ("FOOT", None)])
def test_the_frames_of_the_parametric_map_name_the_part_of_the_body_that_the_source_names(report, part, meaning):
    for header in report.volume.headers:
        header.BodyPartExamined = part
    result = _read(parametric_map(report))
    found = result.SharedFunctionalGroupsSequence[0].get("FrameAnatomySequence", [])
    assert [anatomy.AnatomicRegionSequence[0].CodeMeaning for anatomy in found] == ([meaning] if meaning else [])
