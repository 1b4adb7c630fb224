"""ctiqa-node: a DICOM node that receives CT series and reports their image quality. Research use, not a medical device."""

from importlib.metadata import version

__version__ = version("ctiqa-node")
