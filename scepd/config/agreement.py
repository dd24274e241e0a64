"""What profiles, issuers and listeners must agree on, though each is right for itself."""

from collections.abc import Iterator, Mapping

from cryptography import x509

from scepd.config.issuer_settings import IssuerSettings
from scepd.config.profile_sections import ApprovalSection, ProfileSection, RenewalSection
from scepd.config.sections import ListenerSection, RootSection
from scepd.config.succession import followers
from scepd.problems import Place, Refused
from scepd.x509.usages import STATUS_REQUEST

# Methods that know a secret, or nothing, and not who uses it.
_SAY_NO_NAMES = frozenset({"static", "none"})
_SAY_NO_ATTRIBUTES = _SAY_NO_NAMES | {"one-time"}


def judge_agreement(root: RootSection, issuers: Mapping[str, IssuerSettings | None], place: Place) -> None:
    """Note what a profile wants and its issuers or the listeners cannot give; `issuers` has None for faulty ones."""
    listeners = root.listener or {}
    if listeners and not any("scep" in listener.serves for listener in listeners.values()):
        (place / "listener").problem("no listener serves scep", 'serves = ["scep", "publication"]')
    _judge_generator(root, place)
    for name, profile in (root.profile or {}).items():
        here = place / "profile" / name
        line = followers(profile.issuer or "", root.issuer or {})
        serving = [issuer for issuer in map(issuers.get, line) if issuer is not None]
        found = (
            *(found for issuer in serving for found in _judge_issuer(profile, issuer)),
            *(found for issuer in serving for found in _judge_staple(profile, issuer)),
            *_judge_raw(profile, listeners),
            *_judge_keys(profile),
            *_judge_unauthenticated(profile, is_read=not (here / "approval").is_noted),
            *_judge_vouching(profile),
        )
        for key, refused in found:
            at = here
            for step in key.split("."):
                at /= step
            at.refuse(refused)
        _judge_renewal(name, profile, root, here / "renewal" / "profiles")


def _judge_generator(root: RootSection, place: Place) -> None:
    """Note listeners that serve challenges where no profile takes any."""
    profiles = (root.profile or {}).values()
    if not profiles or any(one.method in {"one-time", None} for profile in profiles for one in profile.challenge or ()):
        return
    for name, listener in (root.listener or {}).items():
        if "challenges" in listener.serves:
            hint = '[profile.routers] challenge = [{ method = "one-time" }]'
            (place / "listener" / name / "serves").problem("no profile takes one-time challenges", hint)


def _judge_issuer(profile: ProfileSection, issuer: IssuerSettings) -> Iterator[tuple[str, Refused]]:
    if issuer.ra_decrypt is None and not profile.password_encryption:
        reason = f"the RA key of issuer {issuer.name} cannot decrypt, so that requests can come by password only"
        yield (
            "password_encryption",
            Refused(reason, "password_encryption = true; or an RSA key as the issuer's ra_decrypt"),
        )
    if profile.get_crl and issuer.crl is None:
        hint = f'crl = {{ valid = "7d", every = "1d" }} in [issuer.{issuer.name}]; or get_crl = false'
        yield "get_crl", Refused(f"issuer {issuer.name} has no CRL", hint)
    elif not answers_get_crl(profile, issuer) and not issuer.crl_urls and not issuer.ocsp_urls:
        reason = f"nobody could learn of a revocation: issuer {issuer.name} has no crl_urls, and GetCRL is not answered"
        hint = (
            f'crl_urls = ["http://pki.example.net/crl/{issuer.name}.crl"] in [issuer.{issuer.name}]; or get_crl = true'
        )
        yield "get_crl", Refused(reason, hint)


def _judge_staple(profile: ProfileSection, issuer: IssuerSettings) -> Iterator[tuple[str, Refused]]:
    """Yield what keeps certificates from being stapled (RFC 7633 sections 4.2.2 and 4.3.1)."""
    features = _tls_features(issuer)
    if features - {STATUS_REQUEST}:
        odd = min(features - {STATUS_REQUEST})
        reason = f"issuer {issuer.name} wants TLS feature {odd} in every certificate, which no profile gives"
        yield "must_staple", Refused(reason, "another issuer")
    elif features and profile.must_staple != "always":
        reason = f"issuer {issuer.name} wants every certificate to be stapled (its own TLS feature extension)"
        yield "must_staple", Refused(reason, 'must_staple = "always"')
    if profile.must_staple in (None, "never"):
        return
    if issuer.ocsp is None:
        hint = f"scepd ca responder {issuer.name} --write"
        yield "must_staple", Refused(f"issuer {issuer.name} answers no OCSP, so that nothing could be stapled", hint)
    elif not issuer.ocsp_urls:
        reason = f"the certificates of issuer {issuer.name} do not say where OCSP answers"
        hint = f'ocsp_urls = ["http://pki.example.net/ocsp"] in [issuer.{issuer.name}]'
        yield "must_staple", Refused(reason, hint)


def _tls_features(issuer: IssuerSettings) -> frozenset[int]:
    certificate = x509.load_der_x509_certificate(issuer.certificate_der)
    try:
        found = certificate.extensions.get_extension_for_class(x509.TLSFeature)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(feature.value for feature in found.value)


def answers_get_crl(profile: ProfileSection, issuer: IssuerSettings) -> bool:
    """Return whether the profile answers GetCRL; where nothing is written it does if its issuer has a CRL."""
    return issuer.crl is not None if profile.get_crl is None else profile.get_crl


def _judge_raw(
    profile: ProfileSection,
    listeners: Mapping[str, ListenerSection],
) -> Iterator[tuple[str, Refused]]:
    if not profile.insecurely_accept_raw_csr:
        return
    if not any(listener.tls is not None and "scep" in listener.serves for listener in listeners.values()):
        # The challenge is in the request, which nothing but TLS protects (C-108).
        hint = '[listener.tls] with address, tls and serves = ["scep"]'
        yield "insecurely_accept_raw_csr", Refused("no listener serves scep with TLS", hint)
    if any(challenge.method == "none" for challenge in profile.challenge or ()):
        hint = 'challenge = [{ method = "one-time" }]'
        yield (
            "insecurely_accept_raw_csr",
            Refused("a request that nobody signed needs a challenge, and none is asked", hint),
        )


def _judge_renewal(name: str, profile: ProfileSection, root: RootSection, place: Place) -> None:
    """Note other profiles whose certificates are renewed here in words, but come from an issuer that is not."""
    renewal, issuers, profiles = profile.renewal, root.issuer or {}, root.profile or {}
    if not isinstance(renewal, RenewalSection) or place.is_noted:
        return
    known = {*followers(profile.issuer or "", issuers), *(renewal.issuers or ())}
    for index, other in enumerate(renewal.profiles or ()):
        issuer = profiles[other].issuer if other in profiles else None
        if other != name and issuer is not None and issuer in issuers and known.isdisjoint(followers(issuer, issuers)):
            reason = f"the certificates of {other} come from issuer {issuer}, which is not renewed here"
            (place / index).problem(reason, f'issuers = ["{issuer}"] beside it')


def _judge_keys(profile: ProfileSection) -> Iterator[tuple[str, Refused]]:
    if profile.password_encryption or profile.insecurely_accept_raw_csr or profile.renewal is not False:
        return  # a renewal's reply is encrypted to the old key, which may be RSA
    if profile.key.curves or profile.key.ed25519:
        reason = "no reply could be encrypted to other keys than RSA, so none could enrol"
        yield "key", Refused(reason, "password_encryption = true; or leave curves and ed25519 out")


def _judge_unauthenticated(profile: ProfileSection, *, is_read: bool) -> Iterator[tuple[str, Refused]]:
    methods = [challenge.method for challenge in profile.challenge or ()]
    if "none" not in methods:
        return
    approval = profile.approval
    is_manual = approval == "manual" or (isinstance(approval, ApprovalSection) and approval.automatic is None)
    if is_read and not is_manual:
        # Else anybody would be certified (threats S-32).
        reason = "challenge method none lets everybody ask, so a person must decide about each request"
        yield "approval", Refused(reason, 'approval = "manual"')


def _judge_vouching(profile: ProfileSection) -> Iterator[tuple[str, Refused]]:
    """Yield what shall come from the identity, though no method of the profile says such a thing of anybody."""
    methods = {challenge.method for challenge in profile.challenge or ()}
    if not methods or None in methods:
        return
    if methods <= _SAY_NO_ATTRIBUTES:
        hint = 'challenge = [{ method = "entity" }], or webhook, intune, signed, client-certificate'
        for word, source in profile.subject.from_.items():
            if source == "identity":
                yield f"subject.from.{word}", Refused("no challenge method of this profile vouches for it", hint)
    if profile.names.from_identity and methods <= _SAY_NO_NAMES:
        hint = 'challenge = [{ method = "one-time" }], or any other but static and none'
        yield "names.from_identity", Refused("no challenge method of this profile vouches for names", hint)
