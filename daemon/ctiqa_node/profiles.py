"""Which result objects each kind of archive or viewer gets, by the names that the configuration uses for them."""

from __future__ import annotations

from typing import Literal

ObjectName = Literal["sr", "summary", "quality_maps", "parametric_map", "key_objects", "pdf", "text_report"]
ProfileName = Literal["generic-pacs", "ohif", "orthanc", "weasis", "slicer"]

# Encapsulated PDF and text report say nothing that the others do not: they are in no set, and are switched on by hand.
PROFILES: dict[ProfileName, frozenset[ObjectName]] = {
    # What every archive stores and every viewer shows.
    "generic-pacs": frozenset({"sr", "summary"}),
    # Shows pictures, multi-frame ones too, and Parametric Maps over their slices; no Key Object Selections.
    "ohif": frozenset({"sr", "summary", "quality_maps", "parametric_map"}),
    # Takes no Parametric Map over C-STORE (1.10), and its own viewer shows pictures only.
    "orthanc": frozenset({"sr", "summary", "quality_maps"}),
    # Names Parametric Maps and Key Object Selections among what it shows.
    "weasis": frozenset({"sr", "summary", "quality_maps", "parametric_map", "key_objects"}),
    # Overlays Parametric Maps, with its extension QuantitativeReporting; a volume of pictures in colour helps nobody.
    "slicer": frozenset({"sr", "summary", "parametric_map"}),
}
