"""From a profile, a request and an identity to what the certificate shall say."""

from scepd.message.csr import CertificationRequest
from scepd.profile.alternative_names import make_names
from scepd.profile.extensions import judge_extensions, tls_features
from scepd.profile.model import NamePolicy, Profile, SubjectPolicy
from scepd.profile.subject import make_subject
from scepd.records import GeneralName, Identity, Name, Template
from scepd.x509.general_names import general_names_from_extension

__all__ = ["NamePolicy", "SubjectPolicy", "make_template", "plain_template"]


def make_template(profile: Profile, csr: CertificationRequest, identity: Identity) -> Template:
    """Return what to certify: the server's own words, with only what the profile lets through of the request's.

    Raises Reject(extension_refused, subject_refused, name_refused), in that order of judgement.
    """
    names_der = judge_extensions(profile, csr.extensions)
    subject = make_subject(profile.subject, csr.subject, identity.attributes)
    names = make_names(
        profile.names,
        () if names_der is None else general_names_from_extension(names_der),
        subject=subject,
        vouched=identity.names,
    )
    return plain_template(profile, csr, subject, names)


def plain_template(
    profile: Profile, csr: CertificationRequest, subject: Name, names: tuple[GeneralName, ...]
) -> Template:
    """Return what the profile says today of a certificate with these names for that request (threats S-52)."""
    return Template(
        subject=subject,
        names=names,
        key_usage=profile.key_usage,
        extended_key_usage=profile.extended_key_usage,
        validity=profile.validity,
        backdate=profile.backdate,
        tls_features=tls_features(profile, csr.extensions),
    )
