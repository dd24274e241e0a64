"""What the operator writes about who is let in: challenge methods, hooks and gates; see `config.sections`."""

from datetime import timedelta
from typing import Annotated

import attrs

from scepd.config import scalars
from scepd.config.fields import Duration, Flag, Secretly, SubjectAttribute, Text, required
from scepd.config.services import read_client_id, read_proxy, read_service, read_tenant_id, read_timeout

METHODS = ("one-time", "static", "none", "entity", "webhook", "intune", "signed", "client-certificate")
_FAILURES = scalars.one_of("refuse", "pending")

Service = Annotated[str, read_service]
Timeout = Annotated[timedelta, read_timeout]


@attrs.frozen
class ChallengeSection:
    """One entry of [profile.NAME] challenge; `config.methods` says which method takes which keys."""

    method: Annotated[str, scalars.one_of(*METHODS)] | None = attrs.field(
        default=None, metadata=required('method = "one-time"')
    )
    valid: Duration | None = None
    secret: Secretly | None = None
    insecurely_short: Flag = False
    mode: Annotated[str, scalars.one_of("registered", "open")] | None = None
    url: Service | None = None
    trust: Text | None = None
    timeout: Timeout | None = None
    attributes: tuple[SubjectAttribute, ...] | None = None
    on_failure: Annotated[str, _FAILURES] | None = None
    insecurely_plain: Flag = False
    tenant: Annotated[str, read_tenant_id] | None = None
    client_id: Annotated[str, read_client_id] | None = None
    certificate: Text | None = None
    key: Secretly | None = None
    authority: Service | None = None
    graph: Service | None = None
    proxy: Annotated[str, read_proxy] | None = None
    audience: Text | None = None
    lifetime: Duration | None = None
    per_device: Annotated[int, scalars.whole(0, 10_000)] | None = None
    window: Duration | None = None


@attrs.frozen
class ComplianceSection:
    """[profile.NAME] compliance."""

    url: Service | None = attrs.field(
        default=None, metadata=required('url = "https://mdm.example.net/scep/compliance"')
    )
    secret: Secretly | None = attrs.field(default=None, metadata=required('secret = { credential = "compliance-key" }'))
    trust: Text | None = None
    timeout: Timeout | None = None
    on_failure: Annotated[str, _FAILURES] | None = None
    insecurely_plain: Flag = False


@attrs.frozen
class NotifySection:
    """One entry of [profile.NAME] notify."""

    url: Service | None = attrs.field(default=None, metadata=required('url = "https://mdm.example.net/scep/notify"'))
    secret: Secretly | None = attrs.field(default=None, metadata=required('secret = { credential = "notify-key" }'))
    trust: Text | None = None
    timeout: Timeout | None = None
    insecurely_plain: Flag = False


@attrs.frozen
class GateSection:
    """[profile.NAME] client_certificate."""

    trust: Text | None = attrs.field(default=None, metadata=required('trust = "factory.pem"'))
    crl: Text | None = None
    issued_here: Flag = True
    subject: Annotated[str, scalars.one_of("same", "any")] = "same"
