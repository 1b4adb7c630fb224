"""The result objects: what the node says of a series, written as DICOM and drawn for people."""
