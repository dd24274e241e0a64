"""What an authenticator vouches for: attributes and names that fill the template (threats S-53 to S-55)."""

import re

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.message import tlv
from scepd.message.csr import build_csr, parse_csr
from scepd.message.csr_attributes import Extension
from scepd.profile.holder import holder_name
from scepd.profile.model import NamePolicy, Profile, SubjectPolicy
from scepd.profile.renewal import has_subject_of
from scepd.profile.subject import make_subject
from scepd.profile.switches import Switches
from scepd.profile.template import make_template
from scepd.records import Attribute, GeneralName, Identity
from scepd.refusal import Reason, Reject
from scepd.x509.names import OIDS, from_text, to_text

KEY = ec.generate_private_key(ec.SECP256R1())
SID = "uri:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-500"
ANN = Identity(
    "webhook",
    "ann",
    names=("dns:ann.example.net", "upn:ann@corp.example.net", SID),
    attributes=(("CN", "ann"), ("O", "Example"), ("OU", "A"), ("OU", "B")),
)
BY_IDENTITY = SubjectPolicy(sources=(("CN", "identity"), ("O", "identity")))


def csr(subject="CN=x", *extensions):
    return parse_csr(build_csr(subject=from_text(subject), private_key=KEY, challenge="x", extensions=extensions))


def carrier(value):
    """One subjectAltName of a kind that the value names."""
    kind, _, text = value.partition(":")
    if kind == "upn":
        upn = tlv.oid("1.3.6.1.4.1.311.20.2.3") + tlv.explicit(0, tlv.utf8(text))
        name = tlv.implicit(0, upn, constructed=True)
    else:
        name = tlv.implicit({"dns": 2, "uri": 6}[kind], text.encode(), constructed=False)
    return Extension("2.5.29.17", False, tlv.sequence(name))


def subject_of(text, policy, vouched=ANN.attributes):
    return to_text(make_subject(policy, from_text(text), vouched))


def refused(call, *arguments):
    with pytest.raises(Reject) as caught:
        call(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    ("wished", "given"),
    [
        ("CN=Administrator,O=Other", "CN=ann,O=Example"),
        ("CN=x", "CN=ann,O=Example"),
        ("O=Other,C=CH", "O=Example,C=CH,CN=ann"),
        ("", "O=Example,CN=ann"),
        ("CN=a,CN=b", "CN=ann,O=Example"),
    ],
)
def test_S53_an_attribute_from_the_identity_replaces_the_requests(wished, given):
    assert subject_of(wished, BY_IDENTITY) == given


def test_S53_where_nobody_vouches_the_request_does_not_stand_in():
    assert refused(make_subject, BY_IDENTITY, from_text("CN=x,O=Example"), [("CN", "x")]) is Reason.subject_refused
    assert refused(make_subject, BY_IDENTITY, from_text("CN=x,O=Example")) is Reason.subject_refused


def test_S53_what_an_identity_vouches_for_is_no_more_than_the_profile_takes():
    assert subject_of("CN=x", SubjectPolicy()) == "CN=x"
    assert subject_of("CN=x", attrs.evolve(BY_IDENTITY, sources=(("OU", "identity"),))) == "CN=x,OU=B,OU=A"


@pytest.mark.parametrize("value", ["a\0b", "\u202ea", "x" * 65, " a"])
def test_S56_what_an_identity_vouches_for_is_checked_as_any_other_value(value):
    assert refused(make_subject, BY_IDENTITY, (), [("CN", value), ("O", "Example")]) is Reason.subject_refused
    twice = [("CN", "a"), ("CN", "b"), ("O", "Example")]
    assert refused(make_subject, BY_IDENTITY, (), twice) is Reason.subject_refused


def test_S53_a_csr_source_lets_an_attribute_through_that_the_list_has_not():
    policy = SubjectPolicy(allow=("CN",), sources=(("UID", "csr"),))
    assert subject_of("CN=x,UID=u1", policy) == "CN=x,UID=u1"
    assert refused(make_subject, policy, from_text("CN=x,DC=corp")) is Reason.subject_refused


@pytest.mark.parametrize("sources", [(("nothing", "csr"),), (("CN", "csr"), ("CN", "identity"))])
def test_sources_name_attributes_once(sources):
    with pytest.raises(ValueError, match="sources"):
        SubjectPolicy(sources=sources)


@pytest.mark.parametrize("name", ["upn:ann@corp.example.net", SID])
@pytest.mark.parametrize("which", ["absent", "equal", "other"])
def test_S55_account_names_come_from_the_identity_alone_and_equal(name, which):
    everything = NamePolicy(dns=("*",), uri=(re.compile(".*"),))
    profile = Profile(name="p", names=everything)
    wished = csr("CN=x", carrier(name if which == "equal" else f"{name}-and-more"))
    if which == "equal":
        assert make_template(profile, wished, ANN).names == (GeneralName(*name.split(":", 1)),)
    identity = Identity("webhook", "bob") if which == "absent" else ANN
    wished = csr("CN=x", carrier(f"{name}-and-more" if which == "other" else name))
    if which != "equal":
        assert refused(make_template, profile, wished, identity) is Reason.name_refused


@pytest.mark.parametrize("which", ["absent", "equal", "other"])
def test_S55_the_security_identifier_extension_is_never_taken_from_a_request(which):
    identity = Identity("webhook", "bob") if which == "absent" else ANN
    sid = "S-1-5-21-1-2-3-500" if which == "equal" else "S-1-5-21-1-2-3-501"
    extension = Extension("1.3.6.1.4.1.311.25.2", False, tlv.sequence(tlv.octet_string(sid.encode())))
    assert refused(make_template, Profile(name="p"), csr("CN=x", extension), identity) is Reason.extension_refused


def test_names_from_the_identity_are_certified_without_being_wished_for():
    profile = Profile(name="p", names=NamePolicy(from_identity=True))
    names = [f"{name.kind}:{name.value}" for name in make_template(profile, csr(), ANN).names]
    assert tuple(names) == ANN.names
    wished = csr("CN=x", carrier("dns:ann.example.net"))
    assert [f"{name.kind}:{name.value}" for name in make_template(profile, wished, ANN).names] == list(ANN.names)
    assert make_template(Profile(name="p"), csr(), ANN).names == ()


@pytest.mark.parametrize("name", ["dns:scep.example.net", "directory:3000", "registered_id:1.2.3"])
def test_S57_not_even_an_identity_gets_the_services_own_names(name):
    profile = Profile(name="p", names=NamePolicy(from_identity=True, reserved=frozenset({"scep.example.net"})))
    assert refused(make_template, profile, csr(), Identity("webhook", "ann", names=(name,))) is Reason.name_refused


def test_S46_a_renewal_asks_for_what_it_asked_for_first():
    profile = Profile(name="p", subject=BY_IDENTITY)
    assert has_subject_of(profile, csr("CN=whatever"), "CN=ann,O=Example")
    assert has_subject_of(profile, csr("CN=ann,O=Example"), "CN=ann,O=Example")
    assert not has_subject_of(profile, csr("CN=whatever,C=CH"), "CN=ann,O=Example")
    assert not has_subject_of(Profile(name="p"), csr("CN=whatever"), "CN=ann,O=Example")


def test_S41_the_holder_is_who_authenticated_or_else_the_subject():
    assert holder_name(ANN, "CN=x") == "webhook: ann"
    for method in ("static", "one-time", "none", "renewal"):
        assert holder_name(Identity(method, "shared challenge"), "CN=x") == "subject: CN=x"


def test_a_profile_that_is_off_refuses():
    switches, profile = Switches(), Profile(name="p")
    switches.require_on(profile)
    switches.replace(frozenset({"p"}))
    assert not switches.is_on(profile)
    assert refused(switches.require_on, profile) is Reason.profile_disabled
    switches.replace(frozenset())
    assert switches.is_on(profile)
    assert refused(switches.require_on, attrs.evolve(profile, enabled=False)) is Reason.profile_disabled


def test_fixed_and_vouched_attributes_stand_together():
    policy = SubjectPolicy(fixed=(Attribute(OIDS["O"], "Fixed"),), sources=(("CN", "identity"),))
    assert subject_of("O=x,CN=y", policy) == "O=Fixed,CN=ann"
