"""A SCEP server under load: where it is, and requests that it should grant."""

import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.report import Broken
from bench.request import Prepared, prepare, recipient
from scepd.message.certrep import read_certs_only
from scepd.message.errors import MessageError


@attrs.frozen
class Target:
    """A SCEP server: its URL, a challenge that may be used many times, TLS for https, its GetCACert certificates."""

    url: str
    challenge: str
    tls: ssl.SSLContext | None
    ca: tuple[bytes, ...]

    @classmethod
    def find(cls, url: str, challenge: str, tls: ssl.SSLContext | None = None) -> Self:
        """Ask the server for its certificates; raises `Broken`."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # as the load: directly
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        try:
            with urllib.request.build_opener(*handlers).open(f"{url}?operation=GetCACert", timeout=10) as reply:
                body, kind = reply.read(), reply.headers.get_content_type()
            certificates = [body] if kind == "application/x-x509-ca-cert" else read_certs_only(body)
        except (OSError, urllib.error.URLError, MessageError) as error:
            raise Broken(f"GetCACert of {url}: {error}") from error
        return cls(url, challenge, tls, tuple(certificates))

    def requests(self, keys: Sequence[rsa.RSAPrivateKey], count: int, *, ber: bool = False) -> list[Prepared]:
        """Return that many distinct requests."""
        mark, now, to = secrets.token_hex(4), datetime.now(UTC), recipient(self.ca)
        return [
            prepare(
                key=keys[n % len(keys)],
                name=f"bench-{mark}-{n}",
                challenge=self.challenge,
                recipient_der=to,
                now=now,
                ber=ber,
            )
            for n in range(count)
        ]
