"""Private keys that stand in files or credentials, for TLS and for proving ourselves to a service; never a CA's."""

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from scepd.config.secret import SecretReference, Surroundings, read_octets, refuse_environment
from scepd.problems import Place, Refused
from scepd.records import Secret


@attrs.frozen
class PrivateKey:
    """A private key as PEM, and the SubjectPublicKeyInfo that belongs to it."""

    pem: Secret
    spki_der: bytes


def read_private_key(reference: SecretReference | None, surroundings: Surroundings, place: Place) -> PrivateKey | None:
    """Return the unencrypted PEM key that a reference names; None, with the problem noted, where there is none."""
    if reference is None:
        return None
    try:
        refuse_environment(reference, "a private key")
        pem = read_octets(reference, surroundings)
    except Refused as refused:
        place.refuse(refused)
        return None
    try:
        key = load_pem_private_key(pem, None)
        text = pem.decode("ascii")
    except TypeError:
        place.problem("is encrypted with a passphrase", "openssl pkey -in KEY -out tls.key; chmod 600 tls.key")
        return None
    except (ValueError, UnsupportedAlgorithm):
        place.problem("is no readable PEM private key", "openssl pkey -in KEY -noout -text_pub")
        return None
    return PrivateKey(Secret(text), key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
