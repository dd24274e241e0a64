"""Host names that stand in the subject, as Cisco's devices have them, among the alternative names."""

import pytest

from scepd.profile.model import NamePolicy
from scepd.refusal import Reason
from tests.profile.test_template import csr, dns, make, names, refused

SUBJECT = "CN=r1,O=a b,unstructuredName=R1.example.net"


@pytest.mark.parametrize(
    ("policy", "given"),
    [
        (NamePolicy(copy=("unstructuredName",)), []),  # no wish for it would be allowed
        (NamePolicy(dns=("*.example.net",)), []),
        (NamePolicy(dns=("*.example.net",), copy=("unstructuredName",)), ["r1.example.net"]),
        (NamePolicy(dns=("*",), copy=("unstructuredName", "CN")), ["r1.example.net", "r1"]),
        (NamePolicy(copy=("CN",)), ["r1"]),
        (NamePolicy(dns=("*",), copy=("unstructuredName",), reserved=frozenset({"r1.example.net"})), []),
        (NamePolicy(dns=("*",), copy=("serialNumber", "O")), []),  # "a b" is no host name
    ],
)
def test_C159_S54_host_names_of_the_subject_are_copied_where_they_would_be_allowed(policy, given):
    template = make(csr(SUBJECT), names=policy)
    assert [(name.kind, name.value) for name in template.names] == [("dns", host) for host in given]


def test_C159_a_name_that_is_copied_and_wished_is_there_once():
    policy = NamePolicy(dns=("*",), copy=("CN",), required=("dns",))
    template = make(csr(SUBJECT, names(dns("r2"), dns("r1"))), names=policy)
    assert [name.value for name in template.names] == ["r2", "r1"]


def test_C159_a_kind_of_name_can_be_required():
    policy = NamePolicy(dns=("*",), copy=("CN",), required=("dns",))
    assert refused(Reason.name_refused, csr("CN=no host"), names=policy) == "no dns name"
    assert make(csr("CN=host"), names=policy).names


def test_S53_copied_attributes_are_words_of_subjects():
    with pytest.raises(ValueError, match="copy: Name is no attribute"):
        NamePolicy(copy=("Name",))
