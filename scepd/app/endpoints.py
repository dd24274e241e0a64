"""What each profile answers without a key: capabilities and CA certificates, made once from the settings."""

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred

from scepd.config.settings import IssuerSettings, Settings
from scepd.enroll.answer import Answerer
from scepd.enroll.pipeline import HANDLERS
from scepd.enroll.reply import Answer
from scepd.message.capabilities import capabilities
from scepd.message.certificate import load_certificate
from scepd.message.certrep import certs_only
from scepd.message.names import CA_CERTIFICATE_TYPE, CA_RA_CERTIFICATE_TYPE, MessageType
from scepd.profile.model import Profile
from scepd.records import Origin
from scepd.web.scep import Endpoint


def make_endpoints(settings: Settings, answerer: Answerer) -> Mapping[str, Endpoint]:
    """Return the endpoint of each profile by its path segment."""
    return {
        profile.segment: _make_endpoint(profile, settings.issuer[profile.issuer], answerer)
        for profile in settings.profiles
    }


def _make_endpoint(profile: Profile, issuer: IssuerSettings, answerer: Answerer) -> Endpoint:
    certificates = served_certificates(profile, issuer)
    alone = len(certificates) == 1  # RFC 8894 section 4.2.1.1: one certificate goes out as it is
    return Endpoint(
        profile_name=profile.name,
        capabilities=advertise(profile),
        ca_certificates=certificates[0] if alone else certs_only(certificates),
        ca_content_type=CA_CERTIFICATE_TYPE if alone else CA_RA_CERTIFICATE_TYPE,
        answer=_answering(profile, answerer),
    )


def _answering(profile: Profile, answerer: Answerer) -> Callable[[bytes, Origin], Deferred[Answer]]:
    return lambda body, origin: Deferred.fromCoroutine(answerer.answer(profile, body, origin))


def advertise(profile: Profile) -> bytes:
    """Return the GetCACaps answer: what this profile does, and nothing else (RFC 8894 section 3.5.2)."""
    renewal = MessageType.RenewalReq.value in HANDLERS
    words = capabilities(profile.crypto, renewal=renewal, next_ca=False).split(b"\n")
    return b"\n".join(word for word in words if profile.advertise_sha384 or word != b"SHA-384")


def served_certificates(profile: Profile, issuer: IssuerSettings) -> list[bytes]:
    """Return what GetCACert serves, in the order that jscep needs: RA signing, RA decryption, CA, upper CAs (C-049).

    While the RA decryption key changes, the previous certificates follow the current one (C-055).

    A root above the issuer is left out unless the profile serves it: clients have it or must not learn it here.
    """
    above = [der for der in issuer.chain if profile.serve_root or not _is_root(der)]
    recipients = [recipient.certificate_der for recipient in issuer.recipients]
    found = (issuer.ra_sign.certificate_der, *recipients, issuer.certificate_der, *above)
    return list(dict.fromkeys(found))


def _is_root(certificate_der: bytes) -> bool:
    certificate = load_certificate(certificate_der)
    return certificate.issuer_der == certificate.subject_der
