"""A DICOM node that receives CT series and reports their image quality. Research use, not a medical device."""

__version__ = "0.1.0"
