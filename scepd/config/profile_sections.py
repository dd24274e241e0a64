"""What the operator writes about a profile: one class for each table of [profile.NAME]; see `config.sections`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

import attrs

from scepd.config import scalars
from scepd.config.access_sections import METHODS, ChallengeSection, ComplianceSection, GateSection, NotifySection
from scepd.config.fields import (
    Delay,
    Duration,
    Expression,
    Flag,
    Network,
    SubjectAttribute,
    Text,
    required,
)
from scepd.config.patterns import read_dns, read_email, read_key_usage, read_path, read_purpose
from scepd.profile.presets import PRESETS


@attrs.frozen
class SubjectSection:
    """[profile.NAME] subject."""

    allow: tuple[SubjectAttribute, ...] | None = None
    patterns: Mapping[str, Expression] = attrs.field(factory=dict)
    set: Mapping[str, Text] = attrs.field(factory=dict)
    from_: Mapping[str, Annotated[str, scalars.one_of("identity", "csr")]] = attrs.field(factory=dict)
    required: tuple[SubjectAttribute, ...] = ()


@attrs.frozen
class NamesSection:
    """[profile.NAME] names."""

    dns: tuple[Annotated[str, read_dns], ...] = ()
    ip: tuple[Network, ...] = ()
    email: tuple[Annotated[str, read_email], ...] = ()
    uri: tuple[Expression, ...] = ()
    common_name: Flag | None = None
    copy: tuple[SubjectAttribute, ...] = ()
    required: tuple[Annotated[str, scalars.one_of("dns", "ip", "email", "uri")], ...] = ()
    from_identity: Flag = False


@attrs.frozen
class KeySection:
    """[profile.NAME] key."""

    rsa: tuple[Annotated[int, scalars.whole(1_024, 8_192)], ...] | None = None
    curves: tuple[Annotated[str, scalars.one_of("P-256", "P-384", "P-521")], ...] | None = None
    ed25519: Flag = False


@attrs.frozen
class RenewalSection:
    """[profile.NAME] renewal."""

    earliest: Annotated[float, scalars.read_fraction] | None = None
    grace: Delay | None = None
    same_key: Flag | None = None
    by_pkcsreq: Flag | None = None
    challenge: Annotated[str, scalars.one_of("ignored", "required")] | None = None
    profiles: tuple[Text, ...] | None = None
    issuers: tuple[Text, ...] | None = None
    most: Annotated[int, scalars.whole(1, 10_000)] | None = None
    longest: Duration | None = None
    revoke_previous: Duration | None = None


@attrs.frozen
class AutomaticSection:
    """[profile.NAME] approval = { automatic }."""

    subject: Mapping[str, Expression] = attrs.field(factory=dict)
    methods: tuple[Annotated[str, scalars.one_of(*(method for method in METHODS if method != "none"))], ...] = ()
    networks: tuple[Network, ...] = ()
    renewals: Flag | None = None


@attrs.frozen
class ApprovalSection:
    """[profile.NAME] approval, where it is more than a word."""

    automatic: AutomaticSection | None = None
    valid: Duration | None = None
    most: Annotated[int, scalars.whole(1, 100_000)] | None = None


@attrs.frozen
class SigningTimeSection:
    """[profile.NAME] signing_time."""

    skew: Annotated[timedelta | Literal[False], scalars.read_skew] | None = None
    renewal_skew: Annotated[timedelta | Literal[False], scalars.read_skew] | None = None
    required: Flag = False


@attrs.frozen
class ProfileSection:
    """[profile.NAME]."""

    issuer: Text | None = attrs.field(default=None, metadata=required('issuer = "devices"'))
    challenge: tuple[ChallengeSection, ...] | None = attrs.field(
        default=None, metadata=required('challenge = [{ method = "one-time", valid = "24h" }]')
    )
    path: Annotated[str, read_path] | None = None
    default: Flag | None = None
    preset: Annotated[str, scalars.one_of(*PRESETS)] | None = None
    subject: SubjectSection = SubjectSection()
    names: NamesSection = NamesSection()
    key: KeySection = KeySection()
    key_usage: tuple[Annotated[str, read_key_usage], ...] | None = None
    extended_key_usage: tuple[Annotated[str, read_purpose], ...] | None = None
    must_staple: Annotated[str, scalars.one_of("never", "requested", "always")] | None = None
    unknown_extensions: Annotated[str, scalars.one_of("drop", "refuse")] | None = None
    validity: Duration | None = None
    backdate: Duration | None = None
    include_chain: Annotated[str, scalars.one_of("none", "issuer", "full")] | None = None
    serve_root: Flag | None = None
    advertise_sha384: Flag | None = None
    omit_fail_info_text: Flag | None = None
    omit_empty_content: Flag | None = None
    verisign_extension_request: Flag | None = None
    strict_nonce: Flag | None = None
    accept_missing_content_type: Flag = False
    renewal: RenewalSection | Annotated[Literal[False], scalars.read_off] = RenewalSection()
    approval: ApprovalSection | Annotated[str, scalars.one_of("automatic", "manual")] = "automatic"
    signing_time: SigningTimeSection = SigningTimeSection()
    unique_subject: Flag | None = None
    unique_key: Flag | None = None
    most_active: Annotated[int, scalars.whole(1, 1_000_000)] | None = None
    enabled: Flag | None = None
    compliance: ComplianceSection | None = None
    notify: tuple[NotifySection, ...] = ()
    client_certificate: GateSection | None = None
    get_cert: Annotated[str, scalars.one_of("owner", "public", "off")] | None = None
    get_crl: Flag | None = None
    password_encryption: Flag = False
    get_only: Flag | None = None
    ca_certificate_chain: Flag | None = None
    insecurely_accept_md5: Flag = False
    insecurely_accept_sha1: Flag = False
    insecurely_accept_des: Flag = False
    insecurely_accept_3des: Flag = False
    insecurely_accept_small_rsa: Flag = False
    insecurely_accept_raw_csr: Flag = False
