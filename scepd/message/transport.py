"""How a content key is encrypted to an RSA key: PKCS#1 v1.5 and OAEP, as AlgorithmIdentifiers and as padding."""

from cryptography.hazmat.primitives.asymmetric import padding

from scepd.message import tlv
from scepd.message.algorithms import MGF1, PKCS1V15, RSA_ENCRYPTION, RSAES_OAEP, Digest, KeyTransport
from scepd.message.errors import MessageError
from scepd.message.signature import Algorithm, find_digest, read_algorithm, read_mgf1, write_algorithm

_P_SPECIFIED = "1.2.840.113549.1.1.9"


def read_transport(algorithm: Algorithm) -> KeyTransport | None:
    """Return the key transport, None for what we do not know, OAEP without parameters among it (threat S-15)."""
    if algorithm.oid == RSA_ENCRYPTION:
        return PKCS1V15 if algorithm.parameters_der in {None, tlv.null()} else None
    if algorithm.oid != RSAES_OAEP or algorithm.parameters_der is None:
        return None
    try:
        return _read_oaep(algorithm.parameters_der)
    except MessageError:
        return None


def _read_oaep(parameters_der: bytes) -> KeyTransport | None:
    """Return OAEP of RSAES-OAEP-params (RFC 4055 section 4.1) with one digest and an empty label."""
    fields = tlv.read(parameters_der).fields()
    hashed, masked, label = fields.optional(0xA0), fields.optional(0xA1), fields.optional(0xA2)
    fields.finish()
    digest = Digest.SHA1 if hashed is None else find_digest(read_algorithm(hashed.inner()).oid)
    mask = Digest.SHA1 if masked is None else find_digest(read_mgf1(masked.inner()))
    if label is not None and read_algorithm(label.inner()) != Algorithm(_P_SPECIFIED, tlv.octet_string(b"")):
        return None
    return KeyTransport(digest) if digest is not None and digest is mask else None


def write_transport(transport: KeyTransport) -> bytes:
    """Return the AlgorithmIdentifier of a key transport; defaults of OAEP are left out, as DER has it."""
    if transport.oaep is None:
        return write_algorithm(RSA_ENCRYPTION)
    if transport.oaep is Digest.SHA1:
        return write_algorithm(RSAES_OAEP, tlv.sequence())
    hashed = write_algorithm(transport.oaep.oid)
    parameters = tlv.sequence(tlv.explicit(0, hashed), tlv.explicit(1, write_algorithm(MGF1, hashed)))
    return write_algorithm(RSAES_OAEP, parameters)


def transport_padding(transport: KeyTransport) -> padding.AsymmetricPadding:
    """Return the padding for cryptography's RSA keys."""
    if transport.oaep is None:
        return padding.PKCS1v15()
    return padding.OAEP(mgf=padding.MGF1(transport.oaep.hash), algorithm=transport.oaep.hash, label=None)
