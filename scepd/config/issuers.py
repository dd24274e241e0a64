"""From [issuer.NAME] to its settings: the certificates read, and judged against each other."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

import attrs
from cryptography import x509

from scepd.config import certificates as judge
from scepd.config.certificates import Moment, read_named
from scepd.config.issuer_settings import CrlSettings, IssuerSettings, OcspSettings, RaSettings, SuccessionSettings
from scepd.config.listener_settings import ListenerSettings
from scepd.config.registrations import RegistrationCompiler
from scepd.config.secret import Surroundings
from scepd.config.sections import CrlSection, IssuerSection, OcspSection
from scepd.config.settings import Appliance
from scepd.config.succession import moments
from scepd.problems import Place, Refused
from scepd.x509.certificate import Locations

_LONGEST_ANSWER = timedelta(hours=24)
_SHORTEST_RESPONDER, _LONGEST_RESPONDER = timedelta(days=2), timedelta(days=90)
_OVERLAP = timedelta(days=30)  # SuccessionSettings' own default


def published_at(appliance: Appliance, listeners: Iterable[ListenerSettings]) -> str | None:
    """Return the URL below which our CRLs are served, None where we cannot know one that clients can use.

    A CRL is fetched by plain HTTP: whoever must verify a certificate first to get at it might need that very CRL.
    """
    if not any(listener.tls is None and "publication" in listener.serves for listener in listeners):
        return None
    url = appliance.public_url
    return url if url is not None and url.startswith("http://") else None


@attrs.frozen
class IssuerCompiler:
    """Compiles issuers; `published` is what `published_at` said."""

    surroundings: Surroundings
    published: str | None
    place: Place

    def compile_all(
        self, sections: Mapping[str, IssuerSection], in_use: frozenset[str]
    ) -> dict[str, IssuerSettings | None]:
        """Return the issuers by name, None for one that lacks something; `in_use` are those that a profile names."""
        times = moments(sections, in_use, self.surroundings.now)
        return {name: self.compile(name, section, times[name]) for name, section in sections.items()}

    def compile(self, name: str, section: IssuerSection, moment: Moment) -> IssuerSettings | None:
        """Return the settings of one issuer."""
        place = self.place / name
        issuer = read_named(section.certificate, self.surroundings, place / "certificate")
        if issuer is not None:
            _note(place / "certificate", (*judge.judge_ca(issuer), *judge.judge_time(issuer, moment)))
        chain = _compile_chain(section, issuer, self.surroundings, place / "chain")
        registrations = RegistrationCompiler(section, issuer, self.surroundings, moment, place).compile()
        crl = _compile_crl(section.crl, place / "crl")
        if issuer is None or section.key is None or registrations is None:
            return None
        return IssuerSettings(
            name=name,
            key=section.key,
            certificate_der=judge.to_der(issuer),
            chain=tuple(judge.to_der(certificate) for certificate in chain),
            ra_sign=registrations.sign,
            ra_decrypt=registrations.decrypt,
            ra_decrypt_previous=registrations.previous,
            crl=crl,
            ocsp=_compile_ocsp(section.ocsp, registrations.responder, place / "ocsp"),
            next=_compile_succession(section, issuer),
            ca_is_ra=section.insecurely_ca_is_ra,
            **attrs.asdict(self.locations(name, section)),
        )

    def locations(self, name: str, section: IssuerSection) -> Locations:
        """Return where an issuer's certificates say that what it publishes is found."""
        return Locations(self._crl_urls(name, section), self._ocsp_urls(section), section.issuer_urls)

    def _crl_urls(self, name: str, section: IssuerSection) -> tuple[str, ...]:
        if section.crl_urls is not None:
            return section.crl_urls
        if self.published is None or not isinstance(section.crl, CrlSection):
            return ()
        return (f"{self.published}/crl/{name}.crl",)

    def _ocsp_urls(self, section: IssuerSection) -> tuple[str, ...]:
        if section.ocsp_urls is not None:
            return section.ocsp_urls
        return () if self.published is None or section.ocsp is None else (f"{self.published}/ocsp",)


def _compile_chain(
    section: IssuerSection,
    issuer: x509.Certificate | None,
    surroundings: Surroundings,
    place: Place,
) -> list[x509.Certificate]:
    """Return the certificates above the issuer; each must have signed the one before it."""
    chain: list[x509.Certificate] = []
    below = issuer
    for index, name in enumerate(section.chain):
        try:
            above = judge.read_certificates(surroundings.resolve(name))
        except Refused as refused:
            (place / index).refuse(refused)
            below = None  # what comes next cannot be judged against a certificate that is not there
            continue
        for certificate in above:
            _note(place / index, _judge_above(certificate, below, surroundings))
            below = certificate
        chain += above
    return chain


def _judge_above(
    certificate: x509.Certificate,
    below: x509.Certificate | None,
    surroundings: Surroundings,
) -> Iterator[Refused]:
    yield from judge.judge_ca(certificate)
    yield from judge.judge_time(certificate, Moment.at(surroundings.now))
    if below is None:
        return
    for refused in judge.judge_issued(below, certificate):
        yield Refused(
            refused.reason, "write the chain nearest first: the one that signed the issuer, then the one above"
        )


def _compile_crl(section: CrlSection | bool, place: Place) -> CrlSettings | None:
    if not isinstance(section, CrlSection):
        return None
    if section.every >= section.valid:
        # Relying parties refuse everything while there is no CRL that is valid (RFC 5280 section 6.3.3).
        hint = 'crl = { valid = "7d", every = "1d" }'
        (place / "every").problem("the next CRL would come only when the one before has ended", hint)
    return CrlSettings(valid=section.valid, every=section.every, shard_size=section.shard_size)


def _compile_ocsp(section: OcspSection | None, responder: RaSettings | None, place: Place) -> OcspSettings | None:
    if section is None:
        return None
    if section.valid > _LONGEST_ANSWER:
        # A replayed answer says "good" until it ends (threats S-108).
        (place / "valid").problem("an answer would hold for more than a day", 'valid = "12h"')
    if section.cache >= section.valid:
        (place / "cache").problem("an answer would be given out when it has ended", 'cache = "5m"')
    if not _SHORTEST_RESPONDER <= section.certificate_valid <= _LONGEST_RESPONDER:
        reason = "nobody can revoke it, so that its end must be near, and it must not end before it is renewed"
        (place / "certificate_valid").problem(reason, 'certificate_valid = "30d"; from 2d to 90d')
    if responder is None:
        return None
    return OcspSettings(
        key=responder.key,
        certificate_der=responder.certificate_der,
        valid=section.valid,
        cache=section.cache,
        certificate_valid=section.certificate_valid,
    )


def _compile_succession(section: IssuerSection, issuer: x509.Certificate) -> SuccessionSettings | None:
    """Return who follows; an overlap that is not written ends with the issuer's certificate at the latest."""
    if section.next is None or section.next_from is None:
        return None
    left = max(timedelta(), issuer.not_valid_after_utc - section.next_from)
    return SuccessionSettings(section.next, section.next_from, section.next_overlap or min(_OVERLAP, left))


def _note(place: Place, refusals: Iterable[Refused]) -> None:
    for refused in refusals:
        place.refuse(refused)
