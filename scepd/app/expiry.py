"""When the certificates of the service end, and what to do before: what `scepd status` counts down."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.config.issuer_settings import IssuerSettings
from scepd.config.listener_settings import ListenerSettings
from scepd.config.settings import Settings

_NOTHING: Mapping[str, datetime] = MappingProxyType({})
# How long before its end something has to be done about a certificate.
_CA, _RA, _TLS = timedelta(days=365), timedelta(days=60), timedelta(days=30)


@attrs.frozen
class _Deadline:
    """A certificate of ours, what it is, how long before its end to act, and how."""

    what: str
    end: datetime
    ahead: timedelta
    do: str


def count_days(
    settings: Settings, now: datetime, responders: Mapping[str, datetime] = _NOTHING
) -> list[dict[str, Any]]:
    """Return every certificate of the configuration, the next to end first: what, not_after, days, due, do.

    `responders` is when the newest certificate of each issuer's OCSP key ends, which is in the store; the configured
    one is counted where nobody said so yet.
    """
    found = [one for issuer in settings.issuers for one in _of_issuer(issuer, now)]
    found += [one for issuer in settings.issuers for one in _of_responder(issuer, responders)]
    found += [one for listener in settings.listeners for one in _of_listener(listener)]
    return sorted((_told(one, now) for one in found), key=lambda row: (row["not_after"], row["what"]))


def _told(one: _Deadline, now: datetime) -> dict[str, Any]:
    left = one.end - now
    return {
        "what": one.what,
        "not_after": f"{one.end:%Y-%m-%dT%H:%M:%SZ}",
        "days": left.days,
        "due": left <= one.ahead and bool(one.do),
        "do": one.do,
    }


def _of_issuer(issuer: IssuerSettings, now: datetime) -> Iterator[_Deadline]:
    name, following = f"issuer {issuer.name}", issuer.next
    is_over = following is not None and following.at <= now
    if following is None:
        do = f"scepd ca rollover {issuer.name} --from ... --write"
    elif not is_over:
        do = ""  # who follows is announced
    elif now >= following.at + following.overlap:
        do = "keep it while its certificates live: its key signs their CRL"
    else:
        do = f"answered until {following.at + following.overlap:%Y-%m-%d}"
    # A CA that is followed has nothing left to be done about.
    ahead = timedelta() if following is not None else _CA
    yield _Deadline(f"{name} CA{' (retired)' if is_over else ''}", _end(issuer.certificate_der), ahead, do)
    fresh = "" if is_over else f"scepd ca ra {issuer.name} --pair --write"
    if not issuer.ca_is_ra:
        yield _Deadline(f"{name} RA signing", _end(issuer.ra_sign.certificate_der), _RA, fresh)
        if issuer.ra_decrypt is not None and not issuer.has_one_ra_key:
            yield _Deadline(f"{name} RA decryption", _end(issuer.ra_decrypt.certificate_der), _RA, fresh)
    retire = f"scepd ca retire-ra {issuer.name} --write, when the devices have fetched the new ones"
    for former in issuer.ra_decrypt_previous:
        yield _Deadline(f"{name} former RA decryption", _end(former.certificate_der), _RA, retire)
    for former in issuer.former_signers:
        yield _Deadline(f"{name} former RA signing", _end(former.certificate_der), _RA, retire)
    for above in issuer.chain:
        yield _Deadline(f"{name} chain", _end(above), _CA, "a new certificate of the CA above: scepd ca request")


def _of_responder(issuer: IssuerSettings, responders: Mapping[str, datetime]) -> Iterator[_Deadline]:
    if issuer.ocsp is not None:
        end = responders.get(issuer.name) or _end(issuer.ocsp.certificate_der)
        do = "its log: it renews itself when half of its life is over (responder_overdue)"
        yield _Deadline(f"issuer {issuer.name} OCSP", end, issuer.ocsp.certificate_valid / 4, do)


def _end(certificate_der: bytes) -> datetime:
    return x509.load_der_x509_certificate(certificate_der).not_valid_after_utc


def _of_listener(listener: ListenerSettings) -> Iterator[_Deadline]:
    if listener.tls is None:
        return
    first = x509.load_pem_x509_certificates(listener.tls.certificate_pem)[0]
    der = first.public_bytes(Encoding.DER)
    renewed = listener.tls.renewal is not None
    do = (
        "its log: it renews itself when a third of its life is left"
        if renewed
        else "put the new one in place; scepd reload"
    )
    yield _Deadline(f"listener {listener.name} TLS", _end(der), _TLS, do)
