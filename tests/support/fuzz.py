"""Inputs that no honest peer sends: what honest peers send, mutated; the same for the same seed."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

RELEASE = b"\x05\x00" + struct.pack(">L", 4) + b"\x00" * 4
ANSWER_SECONDS = 1.0
ODD_LENGTHS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
NESTED = 3000


@dataclass(frozen=True)
class Input:
    """What is sent over one connection: first this, and after an answer that."""

    name: str
    first: bytes
    then: bytes = b""


def association_request() -> bytes:
    """An A-ASSOCIATE-RQ for CT Image Storage and Verification."""
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = UID("2.25.1")
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "FUZZ", "CTIQA"
    asked.user_information = [length, implementation]
    contexts = [build_context(each, ExplicitVRLittleEndian) for each in (CTImageStorage, Verification)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    asked.presentation_context_definition_list = contexts
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(asked)
    return bytes(pdu.encode())


def store_request(dataset: bytes, sop_instance_uid: str = "2.25.7") -> bytes:
    """The PDUs of a C-STORE of these bytes."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 1, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, UID(sop_instance_uid)
    primitive.DataSet = BytesIO(dataset)
    return _encoded(C_STORE_RQ(), primitive, 1)


def echo_request() -> bytes:
    """The PDU of a C-ECHO."""
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 1, Verification
    return _encoded(C_ECHO_RQ(), primitive, 3)


def _encoded(message: C_STORE_RQ | C_ECHO_RQ, primitive: C_STORE | C_ECHO, context: int) -> bytes:
    message.primitive_to_message(primitive)
    sent = b""
    for fragment in message.encode_msg(context, 16382):
        pdu = P_DATA_TF()
        pdu.from_primitive(fragment)
        sent += bytes(pdu.encode())
    return sent


def nested_dataset(depth: int) -> bytes:
    """Sequences within sequences, none of which ever ends (PS3.5 7.5)."""
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return (b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + item) * depth


def mutate(chance: random.Random, content: bytes) -> bytes:
    """One to six changes: bits, lengths, pieces left out, doubled or put in, the end cut off."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        if not changed:
            break
        at = chance.randrange(len(changed))
        span = min(chance.choice((1, 2, 4, 8, 64)), len(changed) - at)
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                form = chance.choice((">L", "<L", ">H", "<H"))
                value = struct.pack(form, chance.choice(ODD_LENGTHS) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
                changed[at : at + len(value)] = value
            case 2:
                del changed[at : at + span]
            case 3:
                changed[at:at] = changed[at : at + span] * chance.choice((1, 2, 50))
            case 4:
                changed[at:at] = chance.randbytes(span)
            case 5:
                del changed[at:]
    return bytes(changed)


class Corpus:
    """An endless supply. `dataset` is an honest one, in Explicit VR Little Endian."""

    def __init__(self, seed: int, dataset: bytes) -> None:
        self._chance = random.Random(seed)
        self._request = association_request()
        self._dataset = dataset
        self._kinds: tuple[Callable[[], Input], ...] = (
            self._request_mutated, self._noise, self._pdus_mutated, self._dataset_mutated, self._nested, self._twice,
            self._fragments,
        )  # fmt: skip

    def next(self) -> Input:
        """One more."""
        return self._chance.choice(self._kinds)()

    def _request_mutated(self) -> Input:
        return Input("request", mutate(self._chance, self._request), echo_request())

    def _noise(self) -> Input:
        kind = bytes((self._chance.randrange(10), 0))
        return Input("noise", kind + self._chance.randbytes(self._chance.randrange(300)))

    def _pdus_mutated(self) -> Input:
        sent = self._chance.choice((store_request(self._dataset), echo_request(), RELEASE))
        return Input("pdus", self._request, mutate(self._chance, sent))

    def _dataset_mutated(self) -> Input:
        return Input("dataset", self._request, store_request(mutate(self._chance, self._dataset)) + RELEASE)

    def _nested(self) -> Input:
        depth = self._chance.choice((2, 50, NESTED))
        return Input("nested", self._request, store_request(nested_dataset(depth) + self._dataset) + RELEASE)

    def _twice(self) -> Input:
        return Input("twice", self._request + self._request, echo_request())

    def _fragments(self) -> Input:
        whole = store_request(self._dataset)
        cut = self._chance.randrange(1, len(whole))
        return Input("fragments", self._request, whole[:cut] + echo_request() + whole[cut:])


def send_input(port: int, what: Input, patience: float = ANSWER_SECONDS) -> None:
    """Send it as a peer would, wait so long for each answer, and go; whatever is answered is thrown away."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.settimeout(patience)
        for part in filter(None, (what.first, what.then)):
            try:
                connection.sendall(part)
                if not connection.recv(1 << 16):
                    return
            except OSError:
                return
