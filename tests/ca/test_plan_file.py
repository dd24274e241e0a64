"""Plans that people edited: each field wrong in each plausible way is told with its place, all of them at once."""

import copy
import json

import pytest
from click.testing import CliRunner

from scepd.ca.plan import PURPOSES
from scepd.ca.plan_file import PlanError, read_plan
from scepd.cli.main import program

PEM = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"
END = "2031-01-01T00:00:00Z"
SIGNER = {"uri": "pkcs11:token=root;object=root", "certificate": "/srv/root.pem", "kind": "rsa:3072", "both_roles": True}


def key(role="sign", kind="ec:P-256"):
    return {"uri": "pkcs11:token=t;object=x", "kind": kind, "role": role, "fresh": True}


COMMON = {"not_after": END, "path_length": None, "signer": SIGNER, "output": "/srv/x.pem"}
URLS = {f"{word}_urls": [f"http://pki.example.net/{word}"] for word in ("crl", "ocsp", "issuer")}
STEPS = {
    "key": {"key": key("both", "rsa:2048"), "path_length": None},
    "root": {"key": key("both", "rsa:4096"), "subject": "CN=Root", "not_after": END, "path_length": 1, "output": "/srv/x.pem"},
    "request": {"key": key(), "subject": "CN=Sub", "path_length": None, "output": "/srv/x.csr"},
    "ca": {**COMMON, "request": PEM, "subject": "CN=Sub", "path_length": 0, "issuer": "devices", **URLS},
    "ra": {**COMMON, "key": key("both", "rsa:2048"), "subject": "CN=RA", "issuer": "devices"},
    "ra-sign": {**COMMON, "key": key(), "subject": "CN=RA", "issuer": "devices", **URLS},
    "ra-decrypt": {**COMMON, "key": key("decrypt", "rsa:2048"), "subject": "CN=RA"},
    "ocsp": {**COMMON, "key": key(), "subject": "CN=OCSP", "issuer": "devices"},
    "tls": {**COMMON, "request": PEM, "names": ["dns:a.example", "ip:192.0.2.1"], "issuer": "devices", **URLS},
    "install": {"key": {**key(), "fresh": False}, "request": PEM, "subject": "CN=Sub", "chain": "/srv/root.pem", "path_length": None, "output": "/srv/x.pem"},
}  # fmt: skip


def plan(*makes):
    steps = [{"makes": word, **copy.deepcopy(STEPS[word])} for word in makes or PURPOSES]
    return {"scepd_plan": 1, "title": "All of it", "steps": steps, "then": ["# in [issuer.devices]:", "", "next = 1"]}


def faults(raw):
    with pytest.raises(PlanError) as caught:
        read_plan(raw if isinstance(raw, str) else json.dumps(raw), "x")
    assert all(problem.reason and problem.hint for problem in caught.value.problems)
    return [problem.path for problem in caught.value.problems]


def test_a_plan_of_every_kind_of_step_is_read_and_written_again():
    raw = plan()
    assert STEPS.keys() == set(PURPOSES)
    again = json.loads(json.dumps(read_plan(json.dumps(raw), "x").to_mapping()))
    assert again == raw


STRANGE = [None, 1, 2.5, True, ["a"], {"a": "b"}, "", "  ", "a\nb", "a\x1b[2J", "a\u202eb"]
NO_OBJECTS = [value for value in STRANGE if value != {"a": "b"}]
WORDS = [*STRANGE, "sing", "SIGN", " sign"]
FLAGS = [None, 0, 1, "true", "", [], {}]
LISTS = [None, 1, True, {}]
SUBJECTS = [*STRANGE, "Root", "CN=", "CN=" + "x" * 65, "C=Schweiz", "CN=a,,O=b"]
URIS = [*STRANGE, "file:/key", "pkcs11:token=t", "pkcs11:object=x?pin-value=4711", "pkcs11:slot-id=0", "pkcs11:object=x;object=y"]
MOMENTS = [*STRANGE, "soon", "2031-01-01", "2031-01-01T00:00:00", "2031-01-01T00:00:00+01:00", "2031-02-30T00:00:00Z", 1924992000]
KINDS_OF_KEY = [*STRANGE, "rsa", "rsa:", "ec", "dsa:1024", "rsa:2048;x"]
FILES = [*STRANGE, "x.pem", "./x.pem", "~/x.pem"]
PEMS = [None, 1, True, [], {}, "", "x", PEM + "\x00", PEM.replace("M", "\u00dc")]
URL_VALUES = [*STRANGE, "pki.example.net", "https://pki.example.net/", "http://", "http://a b/", "ldap://x/"]
NAMES = [*STRANGE, "a.example", "upn:x", "dns:", "mail:a@b"]
ISSUERS = [*STRANGE, "Devices", "a b", "x" * 33]
FIELDS = [
    ("root", "makes", [*WORDS, "export", "roots"]),
    ("root", "output", FILES),
    ("root", "key", [*NO_OBJECTS, []]),
    ("root", "key.uri", URIS),
    ("root", "key.kind", [*KINDS_OF_KEY, "rsa:1024", "ec:P-192", "ec:secp256r1"]),
    ("root", "key.role", [*WORDS, "decrypt"]),
    ("root", "key.fresh", FLAGS),
    ("ra", "key.role", [*WORDS, "sign", "decrypt"]),
    ("ra-sign", "key.role", ["both", "decrypt"]),
    ("ra-decrypt", "key.role", ["both", "sign"]),
    ("ocsp", "key.role", ["both", "decrypt"]),
    ("root", "subject", SUBJECTS),
    ("root", "not_after", MOMENTS),
    ("root", "path_length", [True, -1, 10, 1.0, "1", "", [], {}]),
    ("ca", "request", PEMS),
    ("ca", "signer", NO_OBJECTS),
    ("ca", "signer.uri", URIS),
    ("ca", "signer.certificate", FILES),
    ("ca", "signer.kind", KINDS_OF_KEY),
    ("ca", "signer.both_roles", FLAGS),
    ("ca", "issuer", ISSUERS),
    *[("ca", word, LISTS) for word in URLS],
    *[("ca", f"{word}.0", URL_VALUES) for word in URLS],
    ("tls", "names", LISTS),
    ("tls", "names.1", NAMES),
    ("install", "chain", FILES),
]


def bend(raw, step, path, value):
    """Put a value where the path of a step leads; return its place as it is told."""
    index = [one["makes"] for one in raw["steps"]].index(step)
    here, told = raw["steps"][index], f"$.steps[{index}]"
    *way, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    for word in way:
        here, told = here[word], f"{told}.{word}"
    here[last] = value
    return f"{told}[{last}]" if isinstance(last, int) else f"{told}.{last}"


@pytest.mark.parametrize(
    ("step", "path", "value"),
    [pytest.param(step, path, value, id=f"{step} {path} {value!r:.20}") for step, path, values in FIELDS for value in values],
)  # fmt: skip
def test_each_field_wrong_in_each_plausible_way_is_told_at_its_place(step, path, value):
    raw = plan()
    place = bend(raw, step, path, value)
    assert faults(raw) == [place]


NEEDED = [(step, field) for step in STEPS for field in STEPS[step] if field not in {"issuer", *URLS}]
NEEDED = [(step, field) for step, field in NEEDED if field != "path_length" or step in {"root", "ca"}]
DEEPER = [("root", f"key.{field}") for field in key()] + [("ca", f"signer.{field}") for field in SIGNER if field != "both_roles"]


@pytest.mark.parametrize(("step", "path"), [*NEEDED, *DEEPER, ("root", "makes")])
def test_a_field_that_is_missing_is_told(step, path):
    raw = plan()
    place = bend(raw, step, path, None)
    index = [one.get("makes") for one in raw["steps"]].index(step if path != "makes" else None)
    *way, last = path.split(".")
    here = raw["steps"][index]
    for word in way:
        here = here[word]
    del here[last]
    either = path in {"key", "request"} and step not in {"key", "root", "request", "install"}
    assert faults(raw) == [f"$.steps[{index}]" if either else place]


@pytest.mark.parametrize(
    ("step", "path", "value"),
    [
        ("root", "rejoice", 1), ("root", "key.extractable", True), ("ca", "signer.pin", "4711"), ("root", "signer", SIGNER), ("root", "issuer", "devices"),
        ("root", "crl_urls", ["http://x/"]), ("ocsp", "crl_urls", ["http://x/"]), ("request", "not_after", END), ("key", "output", "/srv/x"),
        ("tls", "subject", "CN=x"), ("tls", "path_length", 0), ("ra", "names", ["dns:a.example"]), ("ra", "chain", "/srv/x"), ("install", "signer", SIGNER),
    ],
)  # fmt: skip
def test_what_means_nothing_there_is_told(step, path, value):
    raw = plan()
    place = bend(raw, step, path, value)
    assert faults(raw) == [place]


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        *[("scepd_plan", value, "$.scepd_plan") for value in (None, 2, True, 1.0, "1", [1])],
        *[("title", value, "$.title") for value in STRANGE],
        *[("steps", value, "$.steps") for value in (None, 1, "x", {}, [])],
        *[("steps", [value], "$.steps[0]") for value in NO_OBJECTS],
        *[("then", value, "$.then") for value in (None, 1, "x", {})],
        *[("then", [value], "$.then[0]") for value in STRANGE if value != ""],
        ("more", 1, "$.more"),
    ],
)
def test_the_plan_around_the_steps(field, value, place):
    assert faults({**plan(), field: value}) == [place]


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "1", '"x"', "NaN", "[" * 100_000, '{"a": Infinity}', "1" * 5_000])
def test_what_is_no_object_of_json_is_no_plan(text):
    assert faults(text) == ["$"]


def test_a_key_that_stands_twice_is_told_since_people_read_the_first():
    text = json.dumps(plan("root"))
    assert faults(text.replace('"title"', '"title": "Harmless", "title"')) == ["$.title"]
    assert faults(text.replace('"subject"', '"subject": "CN=Other", "subject"')) == ["$.steps[0].subject"]
    assert faults(text.replace('"kind"', '"kind": "rsa:4096", "kind"')) == ["$.steps[0].key.kind"]


def test_a_key_and_a_request_are_not_certified_at_once():
    raw = plan()
    bend(raw, "ca", "key", key())
    assert faults(raw) == ["$.steps[3]"]


def test_everything_is_told_at_once_with_status_78_and_nothing_else_is_looked_at(tmp_path):
    raw = plan("root", "tls")
    places = [bend(raw, *bent) for bent in (("root", "key.role", "sing"), ("root", "not_after", "soon"), ("root", "key.uri", "pkcs11:object=x?pin-value=4711"), ("tls", "names.0", "a"))]  # fmt: skip
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(raw))
    result = CliRunner().invoke(program, ["ca", "perform", str(file), "--yes", "--config", str(tmp_path / "absent.toml")])
    assert result.exit_code == 78
    assert sorted(line.partition("at: ")[2] for line in result.stderr.splitlines() if "at: " in line) == sorted(f"{file} {place}" for place in places)
    assert result.stderr.count("error: ") == result.stderr.count("  try: ") == len(places)
    assert "did you mean sign?" in result.stderr
    assert "4711" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b"{\x00}"])
def test_a_file_that_cannot_be_read_is_told_with_status_78(tmp_path, content):
    file = tmp_path / "plan.json"
    file.write_bytes(content)
    result = CliRunner().invoke(program, ["ca", "perform", str(file)])
    assert (result.exit_code, result.stderr.count("error: ")) == (78, 1)
