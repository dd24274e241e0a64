"""PKCS#10 requests that are well signed, and in one to three respects as strange as ASN.1 allows."""

import attrs
from hypothesis import strategies as st

from scepd.message import names, tlv
from scepd.message.algorithms import Digest
from scepd.message.csr import write_name
from scepd.message.signature import sign
from tests import make
from tests.world import STATIC

MICROSOFT_EXTENSIONS = "1.3.6.1.4.1.311.2.1.14"
ATTRIBUTE_OIDS = [
    "2.5.4.3", "2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6", "2.5.4.8", "2.5.4.7", "2.5.4.5", "2.5.4.4", "2.5.4.45",
    "1.2.840.113549.1.9.1", "1.2.840.113549.1.9.2", "1.2.840.113549.1.9.8", "0.9.2342.19200300.100.1.25", "2.999.1", "1.3.6.1.4.1.99999",
]  # fmt: skip
EXTENSION_OIDS = [
    "2.5.29.17", "2.5.29.17", "2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.30", "2.5.29.14", "2.5.29.35", "2.5.29.31",
    "2.5.29.32", "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24", "1.3.6.1.4.1.311.25.2", "1.3.6.1.4.1.311.20.2", "2.999.7",
]  # fmt: skip
STRING_TAGS = [0x0C, 0x0C, 0x13, 0x13, 0x16, 0x14, 0x1E, 0x1C, 0x12, 0x1A, 0x04, 0x03, 0x02]
WORDS = ["device", "r1.example.net", "*.example.net", "", " ", "a" * 64, "a" * 65, "a" * 300, "x\0y", "\u202ecod", "é", "CH", "XXX", "admin,CN=root", "127.0.0.1", "\n", "\U0001f600"]
CODECS = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}


@attrs.frozen
class Hostile:
    """A signed request, and whether it carries the right challenge in the one right place."""

    der: bytes
    authorized: bool
    party: make.Party


@st.composite
def strings(draw):
    """An ASN.1 string of any type, readable or not."""
    if draw(st.integers(0, 2)) != 0:
        return tlv.utf8(draw(st.sampled_from(["device", "r1.example.net", "Example", "CH"])))
    tag = draw(st.sampled_from(STRING_TAGS))
    if draw(st.integers(0, 5)) == 0:
        return tlv.write(tag, draw(st.binary(max_size=20)))
    text = draw(st.sampled_from(WORDS) | st.text(max_size=12))
    return tlv.write(tag, text.encode(CODECS.get(tag, "utf-8"), "replace"))


@st.composite
def subject_names(draw):
    """A Name of up to four RDNs, some of several attributes, some of none."""
    oids = draw(st.sampled_from([ATTRIBUTE_OIDS, ATTRIBUTE_OIDS[:8]]))
    rdns = []
    for _ in range(draw(st.integers(0, 4))):
        pairs = [
            tlv.sequence(tlv.oid(draw(st.sampled_from(oids))), draw(strings()))
            for _ in range(draw(st.sampled_from([1, 1, 1, 1, 2, 0])))
        ]
        rdns.append(tlv.set_of(pairs, sort=draw(st.booleans())))
    return tlv.sequence(*rdns)


@st.composite
def general_names(draw):
    """A GeneralName of any of the nine choices."""
    number = draw(st.integers(0, 9))
    if number in {0, 3, 4, 5}:
        other = tlv.sequence(tlv.oid("1.3.6.1.4.1.311.20.2.3"), tlv.explicit(0, draw(strings())))
        content = draw(st.sampled_from([other[2:], draw(subject_names()), b"", b"\x05\0"]))
        return tlv.implicit(number, content, constructed=True)
    hosts = [b"r1.example.net", b"device", b"*.com", b"a..b", b"127.0.0.1", b"\0", b"x" * 260, b"\xe9", b"a@b", b"https://a/%00", b"\x7f\0\0\1"]
    return tlv.implicit(number, draw(st.sampled_from(hosts) | st.binary(max_size=17)), constructed=False)


@st.composite
def extension_values(draw, oid):
    """A value that fits the extension more or less."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=30))
    match oid:
        case "2.5.29.17":
            return tlv.sequence(*draw(st.lists(general_names(), max_size=3)))
        case "2.5.29.15":
            return tlv.write(0x03, draw(st.sampled_from([b"\x01\x06", b"\x05\xa0", b"\0\xff\x80", b"\x07", b"\0", b""])))
        case "2.5.29.37":
            usages = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.9", "2.5.29.37.0", "1.3.6.1.4.1.311.20.2.1"]
            return tlv.sequence(*(tlv.oid(oid) for oid in draw(st.lists(st.sampled_from(usages), max_size=3))))
        case "2.5.29.19":
            return draw(st.sampled_from([tlv.sequence(tlv.boolean(True)), tlv.sequence(), tlv.sequence(tlv.boolean(True), tlv.integer(0))]))
        case _:
            return draw(st.sampled_from([tlv.null(), tlv.octet_string(b"\1" * 20), tlv.sequence(), tlv.utf8("DomainController")]))


@st.composite
def extensions(draw):
    """One Extension, sometimes critical, sometimes with a criticality that is none."""
    oid = draw(st.sampled_from(EXTENSION_OIDS))
    critical = draw(st.sampled_from([b"", b"", tlv.boolean(True), tlv.boolean(False), b"\x01\x01\x01", tlv.null()]))
    return tlv.sequence(tlv.oid(oid), critical, tlv.octet_string(draw(extension_values(oid))))


RIGHT = tlv.sequence(tlv.oid(names.CHALLENGE_PASSWORD), tlv.set_of((tlv.utf8(STATIC),)))
WRONG = [STATIC + "x", STATIC[:-1], STATIC.upper(), "", "\0", STATIC + "\0", " " + STATIC]


@st.composite
def challenges(draw):
    """The challengePassword attributes of a request, and whether they are the right one, once."""
    kind = draw(st.sampled_from(["typed", "wrong", "several", "none", "odd", "twice"]))
    match kind:
        case "typed":
            values = [tlv.write(draw(st.sampled_from([0x0C, 0x13, 0x16])), STATIC.encode())]
        case "wrong":
            values = [tlv.utf8(draw(st.sampled_from(WRONG)))]
        case "several":
            values = [tlv.utf8(STATIC), tlv.utf8("x")]
        case "odd":
            values = [draw(strings())]
        case "none":
            return [], False
        case _:
            return [RIGHT, RIGHT], False
    attribute = tlv.sequence(tlv.oid(names.CHALLENGE_PASSWORD), tlv.set_of(draw(st.permutations(values)), sort=False))
    return [attribute], kind == "typed"


@st.composite
def wishes(draw):
    """Attributes that ask for extensions."""
    found = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        oid = draw(st.sampled_from([names.EXTENSION_REQUEST] * 4 + [MICROSOFT_EXTENSIONS]))
        wanted = tlv.sequence(*draw(st.lists(extensions(), max_size=3)))
        found.append(tlv.sequence(tlv.oid(oid), tlv.set_of((wanted,))))
    return found


@st.composite
def unknown_attributes(draw):
    """An attribute that means nothing here, or no value at all."""
    oid = draw(st.sampled_from(["2.999.3", "1.2.840.113549.1.9.5", "1.3.6.1.4.1.311.13.2.3"]))
    return [tlv.sequence(tlv.oid(oid), tlv.set_of(draw(st.lists(strings(), max_size=2)), sort=False))]


RESPECTS = ["subject", "subject", "wishes", "wishes", "wishes", "challenge", "unknown", "version", "party", "nothing"]
PARTIES = [("fuzz", "rsa1024"), ("fuzz", "p256"), ("fuzz", "rsa3072")]


@st.composite
def hostile_requests(draw):
    """A PKCS#10 whose signature verifies."""
    strange = draw(st.lists(st.sampled_from(RESPECTS), min_size=1, max_size=3))
    party = make.party(*draw(st.sampled_from(PARTIES))) if "party" in strange else make.party("fuzz")
    wanted, authorized = draw(challenges()) if "challenge" in strange else ([RIGHT], True)
    if "wishes" in strange:
        wanted = [*wanted, *draw(wishes())]
    if "unknown" in strange:
        wanted = [*wanted, *draw(unknown_attributes())]
    info = tlv.sequence(
        tlv.integer(draw(st.sampled_from([0, 1, 2, 3, -1])) if "version" in strange else 0),
        draw(subject_names()) if "subject" in strange else write_name(make.name(CN="device")),
        make.spki(party.key),
        tlv.implicit(0, b"".join(draw(st.permutations(wanted))), constructed=True),
    )
    return Hostile(signed(info, party), authorized, party)


def signed(info, party):
    """Return a CertificationRequest around octets, signed by a party."""
    oid = "1.2.840.10045.4.3.2" if not hasattr(party.key, "decrypt") else "1.2.840.113549.1.1.11"
    algorithm = tlv.sequence(tlv.oid(oid), b"" if oid.startswith("1.2.840.10045") else tlv.null())
    return tlv.sequence(info, algorithm, tlv.bit_string(sign(party.key, info, Digest.SHA256, pss=False)[1]))
