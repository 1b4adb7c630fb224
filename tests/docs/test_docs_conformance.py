"""The conformance statement stays true."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from ctiqa_node.dimse import commitment, commitment_scp, contexts, storage_scp, tls
from ctiqa_node.report.codes import PRIVATE_SCHEME

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "conformance.md").read_text()


def test_the_page_lists_the_transfer_syntaxes_that_are_accepted() -> None:
    listed = re.findall(r"\| (1\.2\.840\.10008[0-9.]+) \|", PAGE)
    assert sorted(listed) == sorted(contexts.TRANSFER_SYNTAXES)


def test_the_page_lists_the_cipher_suites_that_are_offered() -> None:
    # TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is OpenSSL's ECDHE-RSA-AES128-GCM-SHA256
    listed = re.findall(r"^\| TLS_(\w+)_WITH_AES_(\d+)_(\w+) \|", PAGE, re.MULTILINE)
    names = {f"{exchange}_AES{bits}_{rest}".replace("_", "-") for exchange, bits, rest in listed}
    assert names == set(tls.CIPHERS_TLS_1_2)


def test_every_accepted_storage_context_has_all_of_them() -> None:
    storage = [context for context in contexts.accepted() if context.abstract_syntax != "1.2.840.10008.1.1"]
    assert {CTImageStorage, EnhancedCTImageStorage} <= {context.abstract_syntax for context in storage}
    assert all(set(context.transfer_syntax) == set(contexts.TRANSFER_SYNTAXES) for context in storage)


def test_the_page_lists_the_statuses_and_names_of_the_code() -> None:
    statuses = (
        storage_scp.SUCCESS, storage_scp.OUT_OF_RESOURCES, storage_scp.DATASET_MISMATCH,
        storage_scp.CANNOT_UNDERSTAND, storage_scp.PROCESSING_FAILURE,
    )  # fmt: skip
    assert re.findall(r"^\| (0x[0-9A-F]{4}) \|", PAGE, re.MULTILINE) == [f"0x{status:04X}" for status in statuses]
    assert storage_scp.IMPLEMENTATION_CLASS_UID in PAGE
    assert f"`{PRIVATE_SCHEME}`" in PAGE


def test_the_page_lists_what_a_request_for_commitment_is_answered_with() -> None:
    statuses = (
        commitment_scp.SUCCESS, commitment_scp.NO_SUCH_INSTANCE, commitment_scp.INVALID_ARGUMENT,
        commitment_scp.NO_SUCH_ACTION, commitment_scp.NOT_AUTHORISED, commitment_scp.RESOURCE_LIMITATION,
    )  # fmt: skip
    reasons = (
        commitment.NO_SUCH_INSTANCE, commitment.CLASS_INSTANCE_CONFLICT, commitment.PROCESSING_FAILURE
    )  # fmt: skip
    listed = re.findall(r"^\| (0x[0-9A-F]{4}) [a-zSOP -]+ \|", PAGE, re.MULTILINE | re.IGNORECASE)
    assert listed == [f"0x{code:04X}" for code in (*statuses, *reasons)]
