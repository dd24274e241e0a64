"""What the issuers publish over HTTP: CRLs and CA certificates, from memory (RFC 5280 section 4.2.1.13, RFC 2585)."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs
from twisted.web.http import datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepd.ports import Clock
from scepd.records import Crl, crl_issuer
from scepd.web.request import ScepRequest
from scepd.web.respond import Response, refuse, send

_CRL_TYPE, _CERTIFICATE_TYPE = b"application/pkix-crl", b"application/pkix-cert"
_ALLOW = b"GET, HEAD"
_LONGEST_AGE = 3600  # seconds that a cache may keep a CRL: a revocation shall not wait for the old one's end
_CERTIFICATE_AGE = 3600
_RETRY = 60  # seconds


@attrs.frozen
class Published:
    """One resource, ready to send; `until` is when it must not be served any more, None for never."""

    body: bytes
    content_type: bytes
    tag: bytes
    fields: bytes  # ETag and Last-Modified, as header lines
    until: datetime | None = None


class Publication:
    """The resources by their paths: CA certificates for ever, CRLs as they are renewed. Used on the reactor's thread."""

    def __init__(self, certificates: Mapping[str, bytes], crls: Iterable[str] = ()) -> None:
        """Take the CA certificate of each issuer, and the names of the issuers that publish CRLs."""
        self._issuers = frozenset(crls)
        self._published: dict[bytes, Published | None] = {_crl_path(issuer): None for issuer in self._issuers}
        for issuer, der in certificates.items():
            self._published[b"/ca/%b.cer" % issuer.encode()] = _certificate(der)

    def renew(self, crl: Crl) -> None:
        """Serve this CRL from now on, where its issuer publishes any; that of a new shard too."""
        if crl_issuer(crl.issuer) in self._issuers:
            self._published[_crl_path(crl.issuer)] = _crl(crl)

    def has(self, path: bytes) -> bool:
        """Return whether anything is ever served at that path."""
        return path in self._published

    def at(self, path: bytes, now: datetime) -> Published | None:
        """Return what is served at a path; None while there is no CRL that is valid now."""
        found = self._published[path]
        return None if found is None or (found.until is not None and found.until <= now) else found


class PublicationResource(Resource):
    """The tree below /crl and /ca as one leaf."""

    isLeaf = True

    def __init__(self, publication: Publication, clock: Clock) -> None:
        """Serve that publication."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._publication = publication
        self._clock = clock

    def render(self, request: ScepRequest) -> int:
        """Answer at once."""
        request.note(op="publication")
        if not self._publication.has(request.path):
            request.note(outcome="rejected", reason="not_found")
            refuse(request, 404)
        elif request.method not in (b"GET", b"HEAD"):
            request.note(outcome="rejected", reason="method_not_allowed")
            refuse(request, 405, allow=_ALLOW)
        else:
            self._serve(request)
        return NOT_DONE_YET

    def _serve(self, request: ScepRequest) -> None:
        now = self._clock.now()
        found = self._publication.at(request.path, now)
        if found is None:  # C-232: an expired CRL is never served
            request.note(outcome="unavailable", reason="no_valid_crl")
            refuse(request, 503, retry_after=_RETRY)
            return
        request.note(outcome="served")
        age = _CERTIFICATE_AGE if found.until is None else min(_LONGEST_AGE, int((found.until - now).total_seconds()))
        send(
            request,
            Response(
                found.body,
                found.content_type,
                status=304 if has_current(request, found.tag, found.fields) else 200,
                cache_control=b"max-age=%d" % age,
                fields=found.fields,
            ),
        )


def has_current(request: ScepRequest, tag: bytes, fields: bytes) -> bool:
    """Return whether the client has what is served now (RFC 9110 section 13.1.2: a tag goes before a date)."""
    tags = request.getHeader(b"if-none-match")
    if tags is not None:
        offered = {tag.strip().removeprefix(b"W/") for tag in tags.split(b",")}
        return tag in offered or b"*" in offered
    since = request.getHeader(b"if-modified-since")
    return since is not None and b"Last-Modified: " + since + b"\r\n" in fields


def _crl_path(issuer: str) -> bytes:
    return b"/crl/%b.crl" % issuer.encode()


def _crl(crl: Crl) -> Published:
    moment = int(crl.this_update.timestamp())
    tag = b'"%d-%x"' % (crl.number, moment)  # a restored store may give a number again, never at the same time
    modified: bytes = datetimeToString(moment)  # type: ignore[no-untyped-call]
    return Published(
        crl.der,
        _CRL_TYPE,
        tag,
        b"ETag: %b\r\nLast-Modified: %b\r\n" % (tag, modified),
        crl.next_update,
    )


def _certificate(der: bytes) -> Published:
    tag = b'"%b"' % hashlib.sha256(der).hexdigest()[:32].encode()
    return Published(der, _CERTIFICATE_TYPE, tag, b"ETag: %b\r\n" % tag)
