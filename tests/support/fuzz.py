"""Inputs that no honest peer sends: what honest peers send, mutated; the same for the same seed."""

from __future__ import annotations

import random
import socket
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from support.fuzz_datasets import absurd_lengths, false_claims, nested_dataset

RELEASE = b"\x05\x00" + struct.pack(">L", 4) + b"\x00" * 4
ANSWER_SECONDS = 1.0
ODD_LENGTHS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
DEPTHS = (2, 50, 1000, 20_000)
BATCH = 16
PDU_BYTES = 16382
HONEST_UID = "2.25.7"

CONTEXTS: Mapping[int, tuple[UID, UID]] = {
    1: (CTImageStorage, ExplicitVRLittleEndian),
    3: (Verification, ExplicitVRLittleEndian),
    5: (CTImageStorage, ImplicitVRLittleEndian),
    7: (CTImageStorage, DeflatedExplicitVRLittleEndian),
    9: (CTImageStorage, ExplicitVRBigEndian),
    11: (EnhancedCTImageStorage, ExplicitVRLittleEndian),
    13: (CTImageStorage, JPEGLSLossless),
    15: (CTImageStorage, JPEG2000Lossless),
    17: (CTImageStorage, RLELossless),
}
"""By the ID under which they are asked for."""
STORAGE_CONTEXTS = (1, 5, 7, 9, 11)
EXPLICIT, DEFLATED = 1, 7
COMPRESSED = {syntax: number for number, (_, syntax) in CONTEXTS.items() if number > 11}
PIXEL_DATA = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True)
class Input:
    """What is sent over one connection: first this, and each of these when the one before was answered."""

    name: str
    first: bytes
    then: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return max(len(self.then), 1)


def association_request() -> bytes:
    """An A-ASSOCIATE-RQ for CONTEXTS."""
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = PDU_BYTES
    implementation.implementation_class_uid = UID("2.25.1")
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "FUZZ", "CTIQA"
    asked.user_information = [length, implementation]
    contexts = []
    for number, (abstract, syntax) in CONTEXTS.items():
        contexts.append(build_context(abstract, syntax))
        contexts[-1].context_id = number
    asked.presentation_context_definition_list = contexts
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(asked)
    return bytes(pdu.encode())


def store_request(dataset: bytes, sop_instance_uid: str = HONEST_UID, context: int = EXPLICIT) -> bytes:
    """The PDUs of a C-STORE of these bytes."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 1, 2
    primitive.AffectedSOPClassUID = CONTEXTS[context][0]
    primitive.AffectedSOPInstanceUID = UID(sop_instance_uid)
    primitive.DataSet = BytesIO(dataset)
    return _encoded(C_STORE_RQ(), primitive, context)


def echo_request() -> bytes:
    """The PDU of a C-ECHO."""
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 1, Verification
    return _encoded(C_ECHO_RQ(), primitive, 3)


def _encoded(message: C_STORE_RQ | C_ECHO_RQ, primitive: C_STORE | C_ECHO, context: int) -> bytes:
    message.primitive_to_message(primitive)
    sent = b""
    for fragment in message.encode_msg(context, PDU_BYTES):
        pdu = P_DATA_TF()
        pdu.from_primitive(fragment)
        sent += bytes(pdu.encode())
    return sent


def _command_length(sent: bytes) -> int:
    """Of the first PDU, which holds the command set."""
    return 6 + int(struct.unpack(">L", sent[2:6])[0])


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
    """An endless supply.

    `dataset` is an honest one, in Explicit VR Little Endian, with this SOP Instance UID; `compressed` is the same with
    compressed pixel data, by transfer syntax.
    """

    def __init__(
        self, seed: int, dataset: bytes, sop_instance_uid: str, compressed: Mapping[UID, bytes] | None = None
    ) -> None:
        self._chance = random.Random(seed)
        self._request = association_request()
        self._dataset = dataset
        self._uid = sop_instance_uid
        self._compressed = tuple((compressed or {}).items())
        self._kinds: tuple[Callable[[], Input], ...] = (
            self._request_mutated, self._noise, self._pdus_mutated, self._commands_mutated, self._datasets_mutated,
            self._nested, self._lengths, self._claims, self._deflated, self._twice, self._fragments,
            *((self._codestreams,) if self._compressed else ()),
        )  # fmt: skip

    def next(self) -> Input:
        """One more."""
        return self._chance.choice(self._kinds)()

    def _request_mutated(self) -> Input:
        return Input("request", mutate(self._chance, self._request), (echo_request(),))

    def _noise(self) -> Input:
        kind = bytes((self._chance.randrange(10), 0))
        return Input("noise", kind + self._chance.randbytes(self._chance.randrange(300)))

    def _pdus_mutated(self) -> Input:
        sent = self._chance.choice((self._stored(self._dataset), echo_request(), RELEASE))
        return Input("pdus", self._request, (mutate(self._chance, sent),))

    def _commands_mutated(self) -> Input:
        """A command set that is not what it should be, in PDUs that are."""
        sent = self._chance.choice((self._stored(self._dataset), echo_request()))
        first = sent[: _command_length(sent)]
        content = mutate(self._chance, first[12:])
        pdu = struct.pack(">BBLLBB", 4, 0, len(content) + 6, len(content) + 2, first[10], 3) + content
        return Input("commands", self._request, (pdu + sent[len(first) :], echo_request()))

    def _datasets_mutated(self) -> Input:
        return self._batch("datasets", lambda: mutate(self._chance, self._dataset))

    def _nested(self) -> Input:
        def one() -> bytes:
            return nested_dataset(self._chance.choice(DEPTHS), self._chance.random() < 0.5) + self._dataset

        return self._batch("nested", one)

    def _lengths(self) -> Input:
        return self._batch("lengths", lambda: absurd_lengths(self._chance, self._dataset))

    def _claims(self) -> Input:
        return self._batch("claims", lambda: false_claims(self._chance, self._dataset))

    def _deflated(self) -> Input:
        """A deflated dataset that is honest, mutated before or after, or much longer than it looks."""

        def one() -> bytes:
            kind = self._chance.randrange(4)
            content = mutate(self._chance, self._dataset) if kind == 1 else self._dataset
            packing = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
            content += bytes(4 << 20) if kind == 2 else b""
            packed = packing.compress(content) + packing.flush()
            return mutate(self._chance, packed) if kind == 3 else packed

        return self._batch("deflated", one, (DEFLATED,))

    def _codestreams(self) -> Input:
        """Pixel data that no decoder can make an image of."""
        syntax, dataset = self._chance.choice(self._compressed)
        at = dataset.find(PIXEL_DATA) + 12
        context = (COMPRESSED[syntax],)
        return self._batch("codestreams", lambda: dataset[:at] + mutate(self._chance, dataset[at:]), context)

    def _twice(self) -> Input:
        return Input("twice", self._request + self._request, (echo_request(),))

    def _fragments(self) -> Input:
        whole = self._stored(self._dataset)
        cut = self._chance.randrange(1, len(whole))
        return Input("fragments", self._request, (whole[:cut] + echo_request() + whole[cut:],))

    def _batch(self, name: str, make: Callable[[], bytes], contexts: tuple[int, ...] = STORAGE_CONTEXTS) -> Input:
        """Several over one association, each in one of these contexts; two of three in that which it is encoded for."""
        usual = (EXPLICIT,) if EXPLICIT in contexts else contexts
        return Input(
            name,
            self._request,
            tuple(
                self._stored(make(), self._chance.choice(contexts if self._chance.randrange(3) == 0 else usual))
                for _ in range(BATCH)
            ),
        )

    def _stored(self, dataset: bytes, context: int = EXPLICIT) -> bytes:
        """A C-STORE request that names the instance, or another, which is refused at once."""
        named = self._uid if self._chance.randrange(4) else HONEST_UID
        return store_request(dataset, named, context)


def send_input(port: int, what: Input, patience: float = ANSWER_SECONDS) -> int:
    """Send it as a peer would, wait so long for each answer, and go; how many of its parts went out.

    Whatever is answered is thrown away.
    """
    sent = 0
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.settimeout(patience)
        for part in (what.first, *what.then):
            try:
                connection.sendall(part)
                sent += 1
                if not connection.recv(1 << 16):
                    break
            except OSError:
                break
    return max(sent - 1, 1)
