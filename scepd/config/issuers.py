"""From [issuer.NAME] to its settings: the certificates read, and judged against each other."""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

import attrs
from cryptography import x509

from scepd.config import certificates as judge
from scepd.config.problems import Place, Refused
from scepd.config.scalars import same_key
from scepd.config.secret import Surroundings
from scepd.config.sections import IssuerSection, RaSection
from scepd.config.settings import IssuerSettings, RaSettings


@attrs.frozen
class _Keyed:
    """A key of an issuer: where it stands, whose it is, its URI and its certificate (None: not read)."""

    place: Place
    owner: str
    uri: str | None
    certificate: x509.Certificate | None


def compile_issuer(
    name: str, section: IssuerSection, surroundings: Surroundings, place: Place
) -> IssuerSettings | None:
    """Return the settings of a local issuer, None where a certificate or key is lacking; problems go to `place`."""
    issuer = read_certificate(section.certificate, surroundings, place / "certificate")
    if issuer is not None:
        _note(place / "certificate", (*judge.judge_ca(issuer), *judge.judge_time(issuer, surroundings.now)))
    chain = _compile_chain(section, issuer, surroundings, place / "chain")
    sign = _compile_ra(section.ra_sign, place / "ra_sign", surroundings, issuer, judge.judge_ra_signer)
    decrypt = _compile_ra(section.ra_decrypt, place / "ra_decrypt", surroundings, issuer, judge.judge_ra_recipient)
    previous = [
        _compile_ra(entry, place / "ra_decrypt_previous" / index, surroundings, issuer, judge.judge_ra_recipient)
        for index, entry in enumerate(section.ra_decrypt_previous)
    ]
    _keep_apart([_Keyed(place, "the issuer", section.key, issuer), sign, decrypt, *previous])
    ra_sign, ra_decrypt = _to_settings(sign), _to_settings(decrypt)
    if issuer is None or section.key is None or ra_sign is None or ra_decrypt is None:
        return None
    return IssuerSettings(
        name=name,
        key=section.key,
        certificate_der=judge.to_der(issuer),
        chain=tuple(judge.to_der(certificate) for certificate in chain),
        ra_sign=ra_sign,
        ra_decrypt=ra_decrypt,
        ra_decrypt_previous=tuple(settings for keyed in previous if (settings := _to_settings(keyed))),
        crl_urls=section.crl_urls,
        ocsp_urls=section.ocsp_urls,
        issuer_urls=section.issuer_urls,
    )


def read_certificate(name: str | None, surroundings: Surroundings, place: Place) -> x509.Certificate | None:
    """Return the certificate of the file that a key names; None, with the problem noted, where there is none."""
    if name is None:
        return None
    try:
        return judge.read_certificate(surroundings.resolve(name))
    except Refused as refused:
        place.refuse(refused)
        return None


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
    yield from judge.judge_time(certificate, surroundings.now)
    if below is None:
        return
    for refused in judge.judge_issued(below, certificate):
        yield Refused(
            refused.reason, "write the chain nearest first: the one that signed the issuer, then the one above"
        )


def _compile_ra(
    section: RaSection | None,
    place: Place,
    surroundings: Surroundings,
    issuer: x509.Certificate | None,
    judge_role: Callable[[x509.Certificate], Iterable[Refused]],
) -> _Keyed:
    if section is None:
        return _Keyed(place, str(place.path[-1]), None, None)
    certificate = read_certificate(section.certificate, surroundings, place / "certificate")
    if certificate is not None:
        _note(place / "certificate", (*judge_role(certificate), *judge.judge_time(certificate, surroundings.now)))
        if issuer is not None:
            _note(place / "certificate", judge.judge_issued(certificate, issuer))
    return _Keyed(place, str(place.path[-1]), section.key, certificate)


def _keep_apart(keys: list[_Keyed]) -> None:
    # A key that both signs and decrypts is an oracle for the other role (threats S-16).
    hint = "one key for each role; another one: scepd hsm keygen devices-ra-decrypt --role decrypt --type rsa:2048"
    for first, second in combinations(keys, 2):
        if first.uri is not None and second.uri is not None and same_key(first.uri, second.uri):
            (second.place / "key").problem(f"is the same key as that of {first.owner}", hint)
        elif (
            first.certificate is not None
            and second.certificate is not None
            and judge.spki(first.certificate) == judge.spki(second.certificate)
        ):
            (second.place / "certificate").problem(f"certifies the same key as that of {first.owner}", hint)


def _to_settings(keyed: _Keyed) -> RaSettings | None:
    if keyed.uri is None or keyed.certificate is None:
        return None
    return RaSettings(keyed.uri, judge.to_der(keyed.certificate))


def _note(place: Place, refusals: Iterable[Refused]) -> None:
    for refused in refusals:
        place.refuse(refused)
