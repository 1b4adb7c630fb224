"""Which results go to which destination, and which have to be made."""

from __future__ import annotations

from typing import get_args

import pytest

from ctiqa_node.config import Destination, ObjectSwitches
from ctiqa_node.db.states import OutputKind
from ctiqa_node.profiles import PROFILES, ObjectName, ProfileName
from ctiqa_node.routing import STANDARD, instead_of, to_make, wanted


def _destination(profile: str = "generic-pacs", **objects: bool) -> Destination:
    return Destination(name="a", ae_title="A", host="h", port=1, profile=profile, objects=objects)


def test_configuration_and_database_name_the_objects_alike() -> None:
    kinds = [kind.value for kind in OutputKind]
    assert list(get_args(ObjectName)) == kinds
    assert list(ObjectSwitches.model_fields) == kinds


def test_every_profile_has_its_set_and_each_holds_the_standard_objects() -> None:
    assert set(PROFILES) == set(get_args(ProfileName))
    for name in PROFILES:
        assert wanted(_destination(name)) >= STANDARD


def test_orthanc_which_takes_none_over_c_store_is_sent_no_parametric_map() -> None:
    assert OutputKind.PARAMETRIC_MAP not in wanted(_destination("orthanc"))


def test_without_destinations_the_standard_objects_are_made() -> None:
    assert to_make([]) == STANDARD
    assert to_make([_destination(summary=False)]) == STANDARD


def test_what_is_made_is_the_union_of_what_is_wanted() -> None:
    some = [_destination(pdf=True), _destination("orthanc"), _destination(key_objects=True)]
    assert to_make(some) == STANDARD | {OutputKind.PDF, OutputKind.QUALITY_MAPS, OutputKind.KEY_OBJECTS}


def test_with_a_parametric_map_the_quality_maps_are_made_that_may_have_to_take_its_place() -> None:
    assert OutputKind.QUALITY_MAPS not in wanted(_destination("slicer"))
    assert to_make([_destination("slicer")]) == STANDARD | {OutputKind.PARAMETRIC_MAP, OutputKind.QUALITY_MAPS}
    assert to_make([_destination("slicer", quality_maps=False)]) == STANDARD | {OutputKind.PARAMETRIC_MAP}


@pytest.mark.parametrize("kind", [kind for kind in OutputKind if kind is not OutputKind.PARAMETRIC_MAP])
def test_nothing_else_is_replaced(kind: OutputKind) -> None:
    assert instead_of(_destination("weasis"), kind) is None
