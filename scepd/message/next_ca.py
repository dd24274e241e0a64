"""The answer to GetNextCACert (RFC 8894 section 4.7.1): the certificates to come, signed by the CA of today."""

import hmac
from collections.abc import Sequence

from scepd.message import tlv
from scepd.message.algorithms import CryptoPolicy, Digest
from scepd.message.certificate import load_certificate
from scepd.message.certrep import certs_only, read_certs_only
from scepd.message.errors import MessageError
from scepd.message.names import CONTENT_TYPE, DATA, MESSAGE_DIGEST, SIGNED_DATA
from scepd.message.signature import (
    SigningKey,
    check_signer_key,
    find_digest,
    is_valid,
    read_scheme,
    sign,
    write_algorithm,
)
from scepd.message.signed import (
    SignedData,
    SignerInfo,
    digest_content,
    read_signed_data,
    read_signer_info,
    write_content_info,
    write_encapsulated,
    write_issuer_and_serial,
)
from scepd.message.tlv import Element
from scepd.refusal import Reason, Reject

_VERSION_1 = tlv.integer(1)


def build_next_ca(certificates: Sequence[bytes], *, signer: tuple[bytes, SigningKey], digest: Digest) -> bytes:
    """Return the signed message that announces the next CA and RA certificates, by one private-key operation.

    The content is a certs-only SignedData (C-061), which sscep reads; the same certificates stand in the outer bag
    beside the signer's, where jscep looks for them (C-062). The signed attributes are those of CMS alone (C-063).
    """
    content = certs_only(certificates)
    attributes = tlv.set_of(
        (
            _attribute(CONTENT_TYPE, tlv.oid(DATA)),
            _attribute(MESSAGE_DIGEST, tlv.octet_string(digest_content(digest, content))),
        )
    )
    signature_algorithm, signature = sign(signer[1], attributes, digest, pss=False)
    digest_algorithm = write_algorithm(digest.oid)
    signer_info = tlv.sequence(
        _VERSION_1,
        write_issuer_and_serial(load_certificate(signer[0])),
        digest_algorithm,
        tlv.retag(0xA0, attributes),
        signature_algorithm,
        tlv.octet_string(signature),
    )
    signed_data = tlv.sequence(
        _VERSION_1,
        tlv.write(tlv.SET, digest_algorithm),
        write_encapsulated(content),
        tlv.implicit(0, b"".join((signer[0], *certificates)), constructed=True),
        tlv.write(tlv.SET, signer_info),
    )
    return write_content_info(SIGNED_DATA, signed_data)


def _attribute(oid: str, value: bytes) -> bytes:
    return tlv.sequence(tlv.oid(oid), tlv.write(tlv.SET, value))


def read_next_ca(body: bytes, *, trusted: Sequence[bytes], policy: CryptoPolicy | None = None) -> list[bytes]:
    """Return the announced certificates, whose signature verifies under one of the trusted certificates (DER).

    `trusted` is the CA of today, or its RA where a server of the drafts signs with that. What counts is the signed
    content, never the outer bag. Raises `MessageError` for what is no such message, `Reject` for a signature or
    algorithm that is not accepted.
    """
    data = read_signed_data(body)
    if len(data.signer_infos) != 1:
        raise MessageError(f"{len(data.signer_infos)} SignerInfos where one is due")
    _verify(data, read_signer_info(data.signer_infos[0]), trusted, policy or CryptoPolicy())
    if data.content is None:
        raise MessageError(data.content_fault or "no signed certificates")
    return read_certs_only(data.content)


def _verify(data: SignedData, info: SignerInfo, trusted: Sequence[bytes], policy: CryptoPolicy) -> None:
    signers = [certificate for certificate in map(load_certificate, trusted) if info.names(certificate)]
    if not signers:
        raise Reject(Reason.signer_missing, "signed by none of the trusted certificates")
    digest = find_digest(info.digest_oid)
    if digest is None or digest not in policy.digests:
        raise Reject(Reason.algorithm_unsupported, f"digest {info.digest_oid}")
    scheme = read_scheme(info.signature_algorithm, digest)
    key = signers[0].public_key()
    check_signer_key(key, scheme, policy)
    said = _read_attributes(info.attributes)
    if said.get(CONTENT_TYPE) != tlv.oid(data.content_type):
        raise Reject(Reason.signed_attributes_invalid, "contentType attribute missing or not that of the content")
    wanted = tlv.octet_string(digest_content(digest, data.content))
    if not hmac.compare_digest(said.get(MESSAGE_DIGEST, b""), wanted):
        raise Reject(Reason.signature_invalid, "messageDigest is not that of the content")
    assert info.attributes is not None  # without them there was no messageDigest
    if not is_valid(key, scheme, info.signature, tlv.retag(tlv.SET, info.attributes.der)):
        raise Reject(Reason.signature_invalid, "signature does not verify")


def _read_attributes(attributes: Element | None) -> dict[str, bytes]:
    """Return the DER of each signed attribute's one value by its OID; raises `MessageError`."""
    if attributes is None:
        raise MessageError("no signed attributes")
    values: dict[str, bytes] = {}
    for attribute in attributes.children:
        fields = attribute.fields()
        oid = fields.take().oid()
        value = fields.take(tlv.SET)
        fields.finish()
        if oid in values:
            raise MessageError(f"signed attribute {oid} twice")
        values[oid] = value.inner().normalise()
    return values
