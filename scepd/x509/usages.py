"""The words for key usages and purposes, and which usages a key of a kind can serve."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

# RFC 5280 section 4.2.1.3: word -> argument of cryptography's KeyUsage.
_ARGUMENTS = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
KEY_USAGES = frozenset(_ARGUMENTS)

_SIGNING = frozenset({"digitalSignature", "nonRepudiation", "keyCertSign", "cRLSign"})
_RSA = _SIGNING | {"keyEncipherment", "dataEncipherment"}
_EC = _SIGNING | {"keyAgreement", "encipherOnly", "decipherOnly"}

# RFC 5280 section 4.2.1.12 and the registries it points at: word -> dotted OID.
EXTENDED_KEY_USAGES: Mapping[str, str] = MappingProxyType(
    {
        "anyExtendedKeyUsage": "2.5.29.37.0",
        "serverAuth": "1.3.6.1.5.5.7.3.1",
        "clientAuth": "1.3.6.1.5.5.7.3.2",
        "codeSigning": "1.3.6.1.5.5.7.3.3",
        "emailProtection": "1.3.6.1.5.5.7.3.4",
        "ipsecEndSystem": "1.3.6.1.5.5.7.3.5",
        "ipsecTunnel": "1.3.6.1.5.5.7.3.6",
        "ipsecUser": "1.3.6.1.5.5.7.3.7",
        "timeStamping": "1.3.6.1.5.5.7.3.8",
        "OCSPSigning": "1.3.6.1.5.5.7.3.9",
        "eapOverPPP": "1.3.6.1.5.5.7.3.13",
        "eapOverLAN": "1.3.6.1.5.5.7.3.14",
        "ipsecIKE": "1.3.6.1.5.5.7.3.17",
        "cmcCA": "1.3.6.1.5.5.7.3.27",
        "cmcRA": "1.3.6.1.5.5.7.3.28",
        "cmcArchive": "1.3.6.1.5.5.7.3.29",
        "certificateRequestAgent": "1.3.6.1.4.1.311.20.2.1",
        "smartcardLogon": "1.3.6.1.4.1.311.20.2.2",
        "ikeIntermediate": "1.3.6.1.5.5.8.2.2",
    },
)

TLS_FEATURE = "1.3.6.1.5.5.7.1.24"  # RFC 7633 section 6
TLS_FEATURE_DER = bytes.fromhex("06082b06010505070118")
STATUS_REQUEST = 5  # the feature of RFC 6066 section 8: the server staples an OCSP answer

# Words whose OIDs a device may get only where its profile lists them (threats S-59).
SPECIAL_PURPOSES = frozenset(
    EXTENDED_KEY_USAGES[word]
    for word in (
        "anyExtendedKeyUsage",
        "OCSPSigning",
        "timeStamping",
        "codeSigning",
        "smartcardLogon",
        "cmcCA",
        "cmcRA",
        "cmcArchive",
        "certificateRequestAgent",
    )
)


def purpose_oid(word: str) -> str:
    """Return the dotted OID of a purpose given as a word or already as an OID; ValueError for anything else."""
    oid = EXTENDED_KEY_USAGES.get(word, word)
    x509.ObjectIdentifier(oid)
    return oid


def fitting_usages(usages: frozenset[str], key: object) -> frozenset[str]:
    """Return the usages that a public key of that kind can serve (RFC 3279 section 2.3, RFC 8410 section 5)."""
    return usages & served_usages(type(key))


def served_usages(kind: type) -> frozenset[str]:
    """Return the usages that public keys of a class can serve."""
    if issubclass(kind, rsa.RSAPublicKey):
        return _RSA
    return _EC if issubclass(kind, ec.EllipticCurvePublicKey) else _SIGNING


@lru_cache(maxsize=64)
def key_usage_extension(usages: frozenset[str]) -> x509.KeyUsage:
    """Return the extension value; ValueError for an unknown word or an encipherOnly without keyAgreement."""
    unknown = usages - KEY_USAGES
    if unknown:
        raise ValueError(f"unknown key usage {min(unknown)}")
    return x509.KeyUsage(**{argument: word in usages for word, argument in _ARGUMENTS.items()})


def key_usages(extension: x509.KeyUsage) -> frozenset[str]:
    """Return the words of the bits that are set."""
    agreement_only = {"encipherOnly", "decipherOnly"}
    return frozenset(
        word
        for word, argument in _ARGUMENTS.items()
        if (word not in agreement_only or extension.key_agreement) and getattr(extension, argument)
    )
