"""What each profile answers without a key, phase by phase of its issuers: made once from the settings."""

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from twisted.internet.defer import Deferred

from scepd.app.announcement import Announcement
from scepd.app.clock import UtcClock
from scepd.app.gates import make_gates
from scepd.app.successions import successions_of
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.settings import Settings
from scepd.enroll.answer import Answerer, RunsInLane
from scepd.enroll.reply import Answer
from scepd.enroll.succession import Succession, announced, generations, serving
from scepd.message.capabilities import capabilities
from scepd.message.certificate import load_certificate
from scepd.message.certrep import certs_only
from scepd.message.names import CA_CERTIFICATE_TYPE, CA_RA_CERTIFICATE_TYPE
from scepd.ports import Clock
from scepd.profile.model import Profile
from scepd.records import Origin
from scepd.web.endpoint import Endpoint, Phase

_ALWAYS = datetime.min.replace(tzinfo=UTC)

Answering = Callable[[bytes, Origin], Deferred[Answer]]


def make_endpoints(
    settings: Settings, answerer: Answerer, lanes: RunsInLane, clock: Clock | None = None
) -> Mapping[str, Endpoint]:
    """Return the endpoint of each profile by the keys of `web.endpoint.routes`; `lanes` sign what GetNextCACert answers."""
    clock = clock or UtcClock()
    successions = successions_of(settings.issuers)
    gates = make_gates(settings, lanes, clock)
    endpoints: dict[str, Endpoint] = {}
    for profile in settings.profiles:
        endpoint = Endpoint(
            profile_name=profile.name,
            phase=_by_time(_make_phases(profile, settings.issuer, successions, lanes, now=clock.now()), clock),
            answer=_answering(answerer.answer, profile),
            answer_raw=_answering(answerer.answer_raw, profile) if profile.insecurely_accept_raw_csr else None,
            get_only=profile.get_only,
            gate=gates.get(profile.name),
        )
        endpoints |= dict.fromkeys(_keys(profile), endpoint)
    return endpoints


def default_key(settings: Settings) -> str | None:
    """Return the key of the endpoint that answers /scep; None where every profile belongs to a tenant."""
    profile = settings.default_profile
    return None if profile.tenant else profile.segment


def _keys(profile: Profile) -> tuple[str, ...]:
    if not profile.tenant:
        return (profile.segment,)
    own = f"{profile.tenant}/{profile.segment}"
    return (own, f"{profile.tenant}/") if profile.default else (own,)


def _answering(answer: Callable[..., object], profile: Profile) -> Answering:
    return lambda body, origin: Deferred.fromCoroutine(answer(profile, body, origin))  # type: ignore[arg-type]


def _by_time(phases: Sequence[tuple[datetime, Phase]], clock: Clock) -> Callable[[], Phase]:
    """Return the function that finds the phase of the moment; the phases begin at rising times."""
    if len(phases) == 1:
        return lambda: phases[0][1]
    beginnings = [begin for begin, _phase in phases]
    return lambda: phases[bisect(beginnings, clock.now()) - 1][1]


def _make_phases(
    profile: Profile,
    issuers: Mapping[str, IssuerSettings],
    successions: Mapping[str, Succession],
    lanes: RunsInLane,
    *,
    now: datetime,
) -> list[tuple[datetime, Phase]]:
    """Return what the profile says of its CA, with the time from which on, one entry for each issuer that serves.

    What is to be announced from `now` on is signed ahead.
    """
    line = generations(profile.issuer, successions)
    beginnings = sorted({_ALWAYS, *(successions[name].at for name in line if name in successions)})
    phases = []
    for begin in beginnings:
        issuer = issuers[serving(profile.issuer, successions, begin)]
        succession = announced(profile.issuer, successions, begin)
        announcement = None
        if succession is not None:
            to_come = served_certificates(profile, issuers[succession.issuer])
            announcement = Announcement(lanes, issuer.name, to_come)
            if succession.at > now:
                announcement.prepare()
        phases.append((begin, _make_phase(profile, issuer, announcement)))
    return phases


def _make_phase(profile: Profile, issuer: IssuerSettings, announcement: Announcement | None) -> Phase:
    certificates = served_certificates(profile, issuer)
    alone = len(certificates) == 1  # RFC 8894 section 4.2.1.1: one certificate goes out as it is
    return Phase(
        capabilities=advertise(profile, next_ca=announcement is not None),
        ca_certificates=certificates[0] if alone else certs_only(certificates),
        ca_content_type=CA_CERTIFICATE_TYPE if alone else CA_RA_CERTIFICATE_TYPE,
        ca_chain=certs_only(whole_chain(issuer)) if profile.ca_certificate_chain else None,
        next_ca=None if announcement is None else announcement.get,
    )


def advertise(profile: Profile, *, next_ca: bool = False) -> bytes:
    """Return the GetCACaps answer: what this profile does, and nothing else (RFC 8894 section 3.5.2)."""
    offered = capabilities(
        profile.crypto, renewal=profile.renewal is not None, next_ca=next_ca, post=not profile.get_only
    )
    words = offered.split(b"\n")
    return b"\n".join(word for word in words if profile.advertise_sha384 or word != b"SHA-384")


def served_certificates(profile: Profile, issuer: IssuerSettings) -> list[bytes]:
    """Return what GetCACert serves, in the order that jscep needs: RA signing, RA decryption, CA, upper CAs (C-049).

    While the RA's keys change, the previous certificates follow the current ones (C-055). Where the CA is its
    own RA its certificate comes first and, without one above it, alone (C-045).

    A root above the issuer is left out unless the profile serves it: clients have it or must not learn it here, and
    without an RA before it jscep takes it for the issuer.
    """
    above = [der for der in issuer.chain if profile.serve_root or not _is_root(der)]
    return _in_order(issuer, above)


def whole_chain(issuer: IssuerSettings) -> list[bytes]:
    """Return what GetCACertChain serves: the same, always up to the root (drafts up to 18; C-056)."""
    return _in_order(issuer, issuer.chain)


def _in_order(issuer: IssuerSettings, above: Sequence[bytes]) -> list[bytes]:
    recipients = [one.certificate_der for one in (*issuer.recipients, *issuer.former_signers)]
    return list(dict.fromkeys((issuer.ra_sign.certificate_der, *recipients, issuer.certificate_der, *above)))


def _is_root(certificate_der: bytes) -> bool:
    certificate = load_certificate(certificate_der)
    return certificate.issuer_der == certificate.subject_der
