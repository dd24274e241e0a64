"""Whether an issued certificate says what was asked for: a CA may have a policy, and somebody in between a purpose."""

from collections.abc import Iterator, Sequence

from cryptography import x509

from scepd.message import tlv
from scepd.message.csr import read_name
from scepd.message.errors import MessageError
from scepd.refusal import Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.names import from_x509, to_text


def differences(issued: bytes, subject_der: bytes, names: Sequence[str]) -> Iterator[str]:
    """Yield what the certificate says otherwise than asked for, in words; `names` as "dns:host"."""
    certificate = x509.load_der_x509_certificate(issued)
    given, wanted = to_text(from_x509(certificate.subject)), _text(subject_der)
    if given != wanted:
        yield f"the subject is {given or 'empty'}, not {wanted}"
    said, asked = ({name.lower() for name in some} for some in (names_of(issued), names))
    if said - asked:
        yield f"names that were not asked for: {', '.join(sorted(said - asked))}"
    if asked - said:
        yield f"names that are missing: {', '.join(sorted(asked - said))}"


def names_of(certificate_der: bytes) -> tuple[str, ...]:
    """Return the subjectAltNames of a certificate as "dns:host"; those of kinds that we cannot read as one word."""
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(f"{name.kind}:{name.value}" for name in general_names_from_extension(found.public_bytes()))
    except x509.ExtensionNotFound:
        return ()
    except (ValueError, Reject):
        return ("unreadable",)


def _text(subject_der: bytes) -> str:
    try:
        return to_text(read_name(tlv.read(subject_der)))
    except (MessageError, Reject):
        return "what was asked for, which cannot be read"
