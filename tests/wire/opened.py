"""Replies opened by hands that are not ours: the openssl command; asn1crypto tells which algorithms they use."""

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.message.oracles import openssl, pem_key, signed_data

PROVIDERS = ("-provider", "legacy", "-provider", "default")


def pem(certificate_der):
    return x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM)


def verify(message, certificate_der):
    """The content of SignedData under that certificate's key, by openssl."""
    return openssl(
        "cms", "-verify", "-inform", "DER", "-binary", "-noverify", "-certfile", "{signer}", "-nointern",
        stdin=message, files={"signer": pem(certificate_der)},
    )  # fmt: skip


def decrypt(envelope, party):
    """The content of EnvelopedData with a private key, by openssl."""
    return openssl(
        "cms", "-decrypt", "-inform", "DER", "-binary", "-recip", "{certificate}", "-inkey", "{key}", *PROVIDERS,
        stdin=envelope, files={"certificate": pem(party.certificate_der), "key": pem_key(party)},
    )  # fmt: skip


def decrypt_by_password(envelope, password):
    """The content of EnvelopedData with a password, by openssl."""
    return openssl(
        "cms", "-decrypt", "-inform", "DER", "-binary", "-pwri_password", password, *PROVIDERS, stdin=envelope
    )


def algorithms(message, envelope):
    """What a reply uses, in the words of the matrix: digest, signature, cipher, transport."""
    (info,) = signed_data(message)["signer_infos"]
    data = cms.ContentInfo.load(envelope, strict=True)["content"]
    (recipient,) = data["recipient_infos"]
    cipher = data["encrypted_content_info"]["content_encryption_algorithm"]
    return (
        info["digest_algorithm"]["algorithm"].native,
        info["signature_algorithm"]["algorithm"].native,
        {"tripledes_3key": "3des", "des": "des"}.get(cipher["algorithm"].native, cipher["algorithm"].native[:6]),
        _transport(recipient),
    )


def _transport(recipient):
    if recipient.name == "pwri":
        return "pwri"
    algorithm = recipient.chosen["key_encryption_algorithm"]
    if algorithm["algorithm"].native == "rsaes_pkcs1v15":
        return "v1.5"
    return f"oaep-{algorithm['parameters']['hash_algorithm']['algorithm'].native}"


def certificates(degenerate):
    """The certificates of a certs-only SignedData, in their order."""
    content = cms.ContentInfo.load(degenerate, strict=True)["content"]
    assert len(content["signer_infos"]) == 0
    return [certificate.chosen.dump() for certificate in content["certificates"]]
