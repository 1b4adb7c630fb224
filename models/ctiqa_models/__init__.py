"""Quality models for CT: numpy in, numpy out. This package knows nothing of DICOM, sockets or databases."""
