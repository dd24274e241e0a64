"""What a renewed or approved certificate says: names that stand in the store, everything else by today's profile."""

import attrs

from scepd.message import tlv
from scepd.message.csr import CertificationRequest, read_name
from scepd.profile.alternative_names import judge_names
from scepd.profile.extensions import judge_extensions
from scepd.profile.model import Profile
from scepd.profile.subject import make_subject
from scepd.profile.template import plain_template
from scepd.records import GeneralName, Template
from scepd.refusal import Reason, Reject
from scepd.x509.general_names import general_names_from_extension
from scepd.x509.names import SHORT_NAMES, common_name, from_text, to_text


def has_subject_of(profile: Profile, csr: CertificationRequest, subject: str) -> bool:
    """Return whether a request asks for the subject (as text) that a certificate has: as it is, or by the profile's rules.

    A device repeats what it asked for first; what the profile made of it then, it makes of it again. What somebody
    vouched for then is read from the certificate itself.
    """
    if to_text(csr.subject) == subject:
        return True
    vouched = [(SHORT_NAMES.get(a.oid, a.oid), a.value) for rdn in from_text(subject) for a in rdn]
    try:
        return to_text(make_subject(profile.subject, csr.subject, vouched)) == subject
    except Reject:
        return False


def renewal_template(
    profile: Profile, csr: CertificationRequest, subject_der: bytes, names: tuple[str, ...], *, foreign: bool
) -> Template:
    """Return what a renewal certifies: the names of the old certificate, whatever fewer the request wishes (threats S-46).

    `subject_der` and `names` ("dns:host") are those of the old certificate; `foreign`: it was issued under another
    profile, whose word counts nothing here, so that this profile must allow all of it. Raises
    Reject(renewal_names_changed) for a name that it has not, Reject(extension_refused, subject_refused, name_refused)
    for what today's profile gives to nobody.
    """
    names_der = judge_extensions(profile, csr.extensions)
    wished = () if names_der is None else general_names_from_extension(names_der)
    for name in wished:
        if f"{name.kind}:{name.value}" not in names:
            raise Reject(Reason.renewal_names_changed, f"{name.kind} {name.value!r} is not in the certificate")
    subject = read_name(tlv.read(subject_der))
    if foreign and to_text(make_subject(profile.subject, subject)) != to_text(subject):
        raise Reject(Reason.subject_refused, "the profile would give another subject")
    vouched = () if foreign else names
    held = judge_names(profile.names, stored_names(names), common_name=common_name(subject), vouched=vouched)
    return plain_template(profile, csr, subject, held)


def approved_template(profile: Profile, csr: CertificationRequest, subject: str, names: tuple[str, ...]) -> Template:
    """Return what a person approved: the names as that person saw them, in the request's own string types.

    Cisco compares the subject of its certificate with what it asked for, octet for octet.
    """
    tags = {(attribute.oid, attribute.value): attribute.tag for rdn in csr.subject for attribute in rdn}
    name = tuple(
        tuple(attrs.evolve(part, tag=tags.get((part.oid, part.value), part.tag)) for part in rdn)
        for rdn in from_text(subject)
    )
    return plain_template(profile, csr, name, stored_names(names))


def stored_names(names: tuple[str, ...]) -> tuple[GeneralName, ...]:
    """Return the names of a row ("dns:host") as general names."""
    return tuple(GeneralName(*name.split(":", 1)) for name in names)
