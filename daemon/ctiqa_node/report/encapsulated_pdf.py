"""The results as an Encapsulated PDF (DICOM PS3.3 A.45.1): the summary page and all tables."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from ctiqa_node.report.codes import REPORT_TITLE
from ctiqa_node.report.content import Report
from ctiqa_node.report.image_library import distinct_instances
from ctiqa_node.report.objects import add_file_meta, code_item, identified, our_coding_scheme
from ctiqa_node.report.pdf_document import pdf_document
from ctiqa_node.report.predecessors import name_replaced_document
from ctiqa_node.report.source import dress
from ctiqa_node.report.uids import ResultKind

SERIES_DESCRIPTION = "CT image quality: PDF"


def encapsulated_pdf(report: Report) -> Dataset:
    """Write the PDF of a report, with file meta information, Modality DOC.

    It names all source instances. The same report gives the same data set, byte for byte.
    """
    result = identified(report, ResultKind.PDF, EncapsulatedPDFStorage, "DOC")
    dress(result, report, ResultKind.PDF, SERIES_DESCRIPTION, report.pdf_series_number)
    result.ConversionType = "WSD"
    result.AcquisitionDateTime = ""  # type 2: the document was made of many slices
    result.BurnedInAnnotation = "YES"
    result.RecognizableVisualFeatures = "NO"
    result.DocumentTitle = REPORT_TITLE.meaning
    result.ConceptNameCodeSequence = [code_item(REPORT_TITLE)]
    result.CodingSchemeIdentificationSequence = [our_coding_scheme()]
    result.VerificationFlag = "UNVERIFIED"
    result.SourceInstanceSequence = _sources(report)
    name_replaced_document(result, report)
    result.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document = pdf_document(report)
    result.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    result.EncapsulatedDocumentLength = len(document)
    add_file_meta(result)
    return result


def _sources(report: Report) -> list[Dataset]:
    items = []
    for source in distinct_instances(report.volume.sources):
        item = Dataset()
        item.ReferencedSOPClassUID = source.sop_class_uid
        item.ReferencedSOPInstanceUID = source.sop_instance_uid
        items.append(item)
    return items
