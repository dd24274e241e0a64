"""Who is let in: the rules of the challenge methods, of the hooks that are asked and told, and of client certificates."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs

from scepd.records import Secret


@attrs.frozen
class OneTimeRule:
    """Challenge method `one-time`: how long a new challenge is valid."""

    valid: timedelta = timedelta(hours=1)


@attrs.frozen
class StaticRule:
    """Challenge method `static`: the shared secret, which the worker digests under the store key at its start."""

    secret: Secret


@attrs.frozen
class NoChallengeRule:
    """Challenge method `none`: anybody may ask, and a person decides about each request."""


@attrs.frozen
class EntityRule:
    """Challenge method `entity`: the common name is a registered name, the challenge its enrollment code.

    `valid` is the life of a new code. `registered`: only who is in the register may enrol; `open`: a request of
    somebody unknown enters its writer there.
    """

    valid: timedelta = timedelta(days=7)
    mode: Literal["registered", "open"] = "registered"


@attrs.frozen(kw_only=True)
class WebhookRule:
    """A service that is asked or told by JSON over HTTPS, each body signed with the secret.

    `trust_pem` holds the only anchors that its certificate is verified with; empty only for plain HTTP to our own
    machine. `attributes` are those of the subject, by their short names, that its answer may fill in. `on_failure`:
    what a device gets while the service gives no answer, a 503 or PENDING.
    """

    url: str
    secret: Secret
    trust_pem: bytes = attrs.field(default=b"", repr=False)
    timeout: timedelta = timedelta(seconds=5)  # of the whole exchange
    attributes: tuple[str, ...] = ()
    on_failure: Literal["refuse", "pending"] = "refuse"


@attrs.frozen(kw_only=True)
class IntuneRule:
    """Challenge method `intune`: the tenant, and the application that we are there.

    The application proves itself by `secret`, or by certificate and key; never both. `authority` gives tokens,
    `graph` knows where requests are validated; other clouds have others. `trust_pem` empty: the system's anchors.
    `on_failure`: as of `WebhookRule`.
    """

    tenant: str
    client_id: str
    secret: Secret | None = None
    certificate_pem: bytes = attrs.field(default=b"", repr=False)
    key_pem: Secret | None = None
    authority: str = "https://login.microsoftonline.com"
    graph: str = "https://graph.microsoft.com"
    trust_pem: bytes = attrs.field(default=b"", repr=False)
    proxy: str | None = None  # http://host:port, asked to CONNECT
    timeout: timedelta = timedelta(seconds=10)  # of the whole exchange
    on_failure: Literal["refuse", "pending"] = "refuse"


@attrs.frozen(kw_only=True)
class SignedRule:
    """Challenge method `signed`: a token about exactly one request, signed by somebody whose certificate is in `trust`.

    `trust` is read again when it changes. `lifetime` is the longest that a token may be valid, `per_device` how many
    requests each device has in any `window`.
    """

    trust: Path
    audience: str
    lifetime: timedelta = timedelta(hours=1)
    per_device: int = 3
    window: timedelta = timedelta(days=1)


@attrs.frozen
class ClientCertificateRule:
    """Challenge method `client-certificate`: who passed the profile's gate is known by that certificate."""


ChallengeRule = (
    OneTimeRule
    | StaticRule
    | NoChallengeRule
    | EntityRule
    | WebhookRule
    | IntuneRule
    | SignedRule
    | ClientCertificateRule
)


@attrs.frozen(kw_only=True)
class ClientCertificateGate:
    """What TLS must have proved before /scep-mtls/<profile> answers anything (threats M).

    `trust` and `crl` are files that are read again when they change; the certificate must lead to an anchor of
    `trust`. `issued_here`: certificates of ours may stand between the two, and what the store knows to be revoked is
    refused. `subject`: whether the request must ask for the name of the client's certificate.
    `purpose_optional` admits certificates without any extended key usage, as factories give them (IEEE 802.1AR).
    """

    trust: Path
    crl: Path | None = None
    issued_here: bool = True
    subject: Literal["same", "any"] = "same"
    purpose_optional: bool = False
