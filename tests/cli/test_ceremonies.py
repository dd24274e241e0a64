"""Ceremonies on real tokens: planned, rehearsed, confirmed, on the trail, on record, and verified by openssl."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from scepd.x509.fields import tbs_fields
from tests.cli.conftest import Installation, initialise, scepd

WRONG = {
    "existing label": "has a key 'devices-ca' already", "existing label of a public key": "has a key 'devices-ra-decrypt' already",
    "extractable key": "extractable", "key that derives": "derive", "imported key": "not local", "two roles": "may sign and decrypt",
    "wrong role": "may not sign", "no such key": "no private key", "wrong curve": "the plan says ec:P-384",
    "wrong kind": "the plan says rsa:3072", "unknown curve": "no key of kind ec:P-192", "small RSA": "no key of kind rsa:1024",
    "EC key that decrypts": "does not decrypt", "another token": "elsewhere", "no label": "no label", "past end": "is past",
    "no moment": "is no moment", "no such day": "is no moment", "outlives the issuer": "after its issuer's",
    "existing file": "exists already", "no directory": "no directory", "empty subject": "somebody_is_named",
    "a bad subject": "U+202E", "subject of the issuer": "issuer's own name", "no names": "host name", "bad name": "name",
    "unknown kind of name": "no name of a TLS server", "CA below a CA that may have none": "path_length",
    "signer of another certificate": "certificate's key EC", "no signer": "no private key",
    "certificate of the signer missing": "can be read", "signer is no CA": "no CA certificate", "signed by nobody": "nobody would sign",
    "request of somebody else's key": "csr_signature_invalid", "no request": "cannot be read",
    "the same file twice": "twice", "the same key twice": "twice", "mistake in the last step": "is past",
}  # fmt: skip


def run(*command, check=True, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return initialise(tmp_path_factory.mktemp("template") / "var", "ec-p256")


def copy(template, directory):
    directory.mkdir(exist_ok=True)
    made = Installation(directory / "var", template.kind, template.output)
    shutil.copytree(template.directory, made.directory)
    for path in (made.config, made.directory / "softhsm2.conf"):
        path.write_text(path.read_text().replace(str(template.directory), str(made.directory)))
    return made


@pytest.fixture
def site(template, tmp_path):
    return copy(template, tmp_path)


@pytest.fixture(scope="module")
def pki(template, tmp_path_factory):
    """A root in one token, an issuing CA below it in another."""
    site = copy(template, tmp_path_factory.mktemp("pki"))
    environment = {**os.environ, "SOFTHSM2_CONF": str(site.directory / "softhsm2.conf")}
    run("softhsm2-util", "--init-token", "--free", "--label", "root", "--pin", "root-4711", "--so-pin", "12345678", env=environment)
    pin = site.directory / "root-pin"
    pin.write_text("root-4711\n")
    pin.chmod(0o600)
    place = {"cwd": site.directory}
    signer = ("--key", "pkcs11:token=root;object=root-ca", "--pin-file", pin, "--certificate", "root-ca.pem")
    site.scepd("ca", "create", "pkcs11:token=root;object=root-ca", "--subject", "CN=Example Root CA,O=Example", "--output", "root-ca.pem", "--pin-file", pin, "--yes", **place)
    site.scepd("ca", "request", "sub-ca", "--subject", "CN=Example Sub CA,O=Example", "--type", "rsa:3072", "--yes", **place)
    site.scepd("ca", "sign", "sub-ca.csr", *signer, "--output", "sub-ca.signed.pem", "--yes", **place)
    site.scepd("ca", "import", "sub-ca", "sub-ca.signed.pem", "--chain", "root-ca.pem", "--yes", **place)
    return site


def records(site):
    return sorted((site.directory / "state" / "ceremonies").glob("*.json"))


def audit_rows(site):
    script = (
        "import sys; from scepd.cli.configured import load_settings as l; from scepd.store.engines import open_engine as o;"
        "from scepd.store.repository import Repository as R; from scepd.app.clock import UtcClock as C;"
        "from scepd.store.check import check_store; from pathlib import Path; import json; s=l(Path(sys.argv[1]));"
        "r=R(o(s.store.url,s.appliance.state),owner='t/t',clock=C());"
        "print(json.dumps([[a.action,a.target] for a in r.audit_chains()]+check_store(r,{i.name:i.certificate_der for i in s.issuers})))"
    )
    return json.loads(run(sys.executable, "-c", script, site.config).stdout)


def test_N1_a_root_in_one_token_and_an_issuing_ca_in_another(pki):
    told = run("openssl", "verify", "-x509_strict", "-CAfile", "root-ca.pem", "sub-ca.pem", cwd=pki.directory)
    assert told.stdout == "sub-ca.pem: OK\n"
    text = run("openssl", "x509", "-in", "sub-ca.pem", "-noout", "-text", cwd=pki.directory).stdout
    assert "CA:TRUE, pathlen:0" in text
    assert "Public-Key: (3072 bit)" in text
    run("openssl", "req", "-in", "sub-ca.csr", "-verify", "-noout", cwd=pki.directory)
    assert {row["label"] for row in json.loads(pki.scepd("hsm", "list", "--json").stdout)} >= {"sub-ca", "devices-ca"}


def test_S124_each_ceremony_is_on_the_trail_and_leaves_a_record_that_verifies_elsewhere(pki, tmp_path):
    found = records(pki)
    assert len(found) == 4
    shutil.copy(pki.directory / "scepd-audit.pem", tmp_path)
    for path in found:
        shutil.copy(path, tmp_path)
        told = scepd("ca", "verify-record", tmp_path / path.name, "--key", tmp_path / "scepd-audit.pem")
        assert "the record is whole" in told.stdout
    rows = audit_rows(pki)
    for action in ("ceremony_began", "ceremony_ended"):
        assert len([row for row in rows if row[0] == action]) == 4
    assert all(isinstance(row, list) for row in rows)  # the store's own check found nothing


def test_S124_the_printed_command_verifies_the_record_as_it_stands(template, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("p q")  # what has to be quoted is quoted; a long name is no place for sockets
    site = copy(template, tmp_path)
    told = site.scepd("ca", "create", "pkcs11:token=scepd;object=root-ca", "--subject", "CN=Root", "--output", tmp_path / "root.pem", "--yes").stderr
    command = told.partition("verify it: ")[2]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = run("sh", "-c", command, env=environment, cwd=tmp_path)
    assert "the record is whole" in result.stdout


@pytest.mark.parametrize(
    "path",
    [
        ("by",), ("begun",), ("plan", "title"), ("plan", "steps", 0, "not_after"), ("made", 0, "sha256"), ("made", 0, "pem"),
        ("made", 0, "form"), ("made", 0, "attributes", "extractable"), ("tokens", 0, "serial"), ("rehearsal",), ("signature",),
    ],
)  # fmt: skip
def test_S124_a_record_that_was_changed_is_told(pki, tmp_path, path):
    record = json.loads(records(pki)[0].read_text())
    *way, last = path
    place = record
    for step in way:
        place = place[step]
    place[last] = not place[last] if isinstance(place[last], bool) else place[last][:-2] + "A="
    bent = tmp_path / "bent.json"
    bent.write_text(json.dumps(record))
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    from scepd.ca.record import verify_record
    from scepd.config.audit import load_audit_key

    pem = pki.directory / "scepd-audit.pem"
    _, faults = verify_record(bent.read_text(), "bent", load_der_public_key(load_audit_key(pem.read_bytes(), pem)))
    assert faults


def test_a_record_under_another_key_proves_nothing(pki, tmp_path):
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "k.pem")
    run("openssl", "pkey", "-in", tmp_path / "k.pem", "-pubout", "-out", tmp_path / "p.pem")
    told = scepd("ca", "verify-record", records(pki)[0], "--key", tmp_path / "p.pem", check=False)
    assert told.returncode == 1
    assert "did not sign it" in told.stderr


def test_a_rehearsal_and_the_ceremony_have_one_form_and_the_rehearsal_leaves_nothing(site):
    options = ("root-ca", "--subject", "CN=Root,O=Example", "--output", site.directory / "root.pem")
    plan = site.directory / "plan.json"
    plan.write_text(site.scepd("ca", "create", *options, "--plan").stdout)
    before = {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()}
    rehearsed = site.scepd("ca", "perform", plan, "--rehearse")
    assert "nothing is left of it" in rehearsed.stdout
    assert {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()} == before
    refused = site.scepd("ca", "perform", plan, check=False)
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    held = site.scepd("ca", "perform", plan, "--yes")
    form = next(line for line in rehearsed.stderr.splitlines() if line.startswith("form of 1"))
    assert form in held.stderr.splitlines()
    assert json.loads(records(site)[0].read_text())["made"][0]["form"] == form.split()[-1]


@pytest.mark.parametrize("field", ["output", "certificate"])
def test_a_rehearsal_never_leaves_its_scratch_directory(site, tmp_path, field):
    made = site.scepd("ca", "create", "root-ca", "--subject", "CN=Root,O=Example", "--output", "../root.pem", "--plan", cwd=site.directory)
    plan = json.loads(made.stdout)
    assert plan["steps"][0]["output"] == str(tmp_path / "root.pem")  # as the command line resolves it
    up = f"/../../../../{tmp_path}/hit/root.pem"
    if field == "output":
        plan["steps"][0]["output"] = up
    else:
        plan["steps"][0]["makes"] = "ca"
        plan["steps"][0]["signer"] = {"uri": "pkcs11:token=scepd;object=devices-ca", "certificate": up, "kind": "ec:P-256"}
    path = site.directory / "plan.json"
    path.write_text(json.dumps(plan))
    told = site.scepd("ca", "perform", path, "--rehearse", check=False)
    assert told.returncode == 1
    assert f"{up} leads out of where a rehearsal writes" in told.stderr
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize("name", ["other", "devices"])
def test_a_plan_that_keeps_a_certificate_with_another_issuer_is_refused(site, tmp_path, name):
    signer = site.directory / "devices-ca.pem"
    if name == "devices":  # of the configuration, and yet not its certificate
        signer = tmp_path / "another.pem"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k.pem", "-subj", "/CN=Another", "-out", signer)
    made = site.scepd("ca", "certify", "devices", "--as", "ra", "--key", "ra-9", "--output", site.directory / "ra.pem", "--plan").stdout
    plan = json.loads(made)
    plan["steps"][-1] |= {"issuer": name, "signer": plan["steps"][-1]["signer"] | {"certificate": str(signer)}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    told = site.scepd("ca", "perform", tmp_path / "plan.json", "--yes", check=False)
    assert told.returncode == 1
    assert f"$.steps[{len(plan['steps']) - 1}].issuer is '{name}', but" in told.stderr
    assert ("[issuer.devices] has" in told.stderr) == (name == "other")
    assert not (site.directory / "ra.pem").exists()


def test_N1_thirty_mistakes_stop_a_ceremony_before_anything_is_made(site):
    before = {path.name for path in site.directory.iterdir()}
    result = json.loads(run(sys.executable, "-m", "tests.cli.mistakes", site.directory, cwd=Path(__file__).parents[2]).stdout)
    assert result["told"].keys() == WRONG.keys()
    assert len(WRONG) >= 30
    for name, words in WRONG.items():
        assert words in result["told"][name], name
    assert {path.name for path in site.directory.iterdir()} == before | {"bent.csr"}
    assert [label for label in result["keys"] if not label.startswith(("devices-", "scepd-", "weak-"))] == []


def test_an_answer_for_another_key_or_of_another_ca_is_not_taken_in(pki, tmp_path):
    ca, root = pki.directory / "devices-ca.pem", pki.directory / "root-ca.pem"
    cases = {
        ("sub-ca", ca, ca): "the plan says ec:P-256",
        ("sub-ca", pki.directory / "sub-ca.signed.pem", ca): "is not signed by",
        ("devices-ca", ca, root): "is not signed by",
    }
    for (label, file, chain), words in cases.items():
        told = pki.scepd("ca", "import", label, file, "--chain", chain, "--output", tmp_path / "x.pem", "--yes", check=False)
        assert told.returncode == 1
        assert words in told.stderr
    assert not (tmp_path / "x.pem").exists()


def test_a_cross_certificate_lets_those_who_trust_one_ca_trust_the_other(pki):
    signer = ("--key", "pkcs11:token=root;object=root-ca", "--pin-file", "root-pin", "--certificate", "root-ca.pem")
    pki.scepd("ca", "cross", "devices-ca.pem", *signer, "--output", "crossed.pem", "--yes", cwd=pki.directory)
    told = run(
        "openssl", "verify", "-x509_strict", "-CAfile", "root-ca.pem", "-untrusted", "crossed.pem", "devices-ra-sign.pem", cwd=pki.directory
    )  # fmt: skip
    assert told.stdout == "devices-ra-sign.pem: OK\n"
    crossed, own = (x509.load_pem_x509_certificate((pki.directory / name).read_bytes()) for name in ("crossed.pem", "devices-ca.pem"))
    assert (crossed.subject, crossed.public_key()) == (own.subject, own.public_key())


ELDER = """
[req]
distinguished_name = dn
x509_extensions = ca
prompt = no
string_mask = default
[dn]
C = CH
O = Elder & Co
CN = Elder CA
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = DEADBEEF0102030405060708
[leaf]
authorityKeyIdentifier = keyid:always
"""


def test_C285_a_cross_certificate_names_the_other_ca_octet_for_octet(pki, tmp_path):
    at = {"cwd": tmp_path}
    (tmp_path / "elder.cnf").write_text(ELDER)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("openssl", "req", "-x509", "-new", *curve, "-keyout", "elder.key", "-out", "elder.pem", "-days", "90", "-config", "elder.cnf", **at)
    assert {"T61STRING", "PRINTABLESTRING"} <= set(run("openssl", "asn1parse", "-in", "elder.pem", **at).stdout.replace(":", " ").split())
    run("openssl", "req", "-new", *curve, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf", **at)
    run("openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "elder.pem", "-CAkey", "elder.key", "-out", "leaf.pem", "-days", "30", "-extfile", "elder.cnf", "-extensions", "leaf", **at)
    there = pki.directory
    signer = ("--key", "pkcs11:token=root;object=root-ca", "--pin-file", there / "root-pin", "--certificate", there / "root-ca.pem")
    wish = ("ca", "cross", "elder.pem", *signer, "--output", "crossed.pem")
    forms = [line for mode in ("--rehearse", "--yes") for line in pki.scepd(*wish, mode, **at).stderr.splitlines() if "form of" in line]
    assert forms[0] == forms[1]
    crossed, own = (x509.load_pem_x509_certificate((tmp_path / file).read_bytes()) for file in ("crossed.pem", "elder.pem"))
    assert tbs_fields(crossed.tbs_certificate_bytes)[5:7] == tbs_fields(own.tbs_certificate_bytes)[5:7]
    assert crossed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == bytes.fromhex("DEADBEEF0102030405060708")
    told = run("openssl", "verify", "-CAfile", there / "root-ca.pem", "-untrusted", "crossed.pem", "leaf.pem", **at)
    assert told.stdout == "leaf.pem: OK\n"


@pytest.mark.parametrize(
    ("file", "words"),
    [("devices-ra-sign.pem", "is not signed by its own key"), ("sub-ca.csr", "no certificate that can be read"), ("absent.pem", "does not exist"), ("devices-ca.pem", "the issuer's own key")],
)  # fmt: skip
def test_what_is_no_other_cas_own_certificate_is_not_crossed(pki, tmp_path, file, words):
    signer = ("--key", "devices-ca", "--certificate", "devices-ca.pem")
    told = pki.scepd("ca", "cross", file, *signer, "--output", tmp_path / "x.pem", "--yes", check=False, cwd=pki.directory)
    assert told.returncode in {1, 2}
    assert words in told.stderr
    assert not (tmp_path / "x.pem").exists()


def test_S109_C052_keys_of_the_service_are_certified_for_one_thing_and_can_be_revoked(site):
    at = {"cwd": site.directory}
    site.scepd("hsm", "keygen", "devices-ra-decrypt-9", "--role", "decrypt", **at)
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "pki.key", "-subj", "/CN=x", "-out", "pki.csr", **at)
    plans = [
        ("ra-decrypt", "--key", "devices-ra-decrypt-9", "--existing"), ("ocsp", "--key", "devices-ocsp"),
        ("tls", "--request", "pki.csr", "--name", "dns:pki.example.net", "--name", "ip:192.0.2.1"),
    ]  # fmt: skip
    for purpose, *options in plans:
        site.scepd("ca", "certify", "devices", "--as", purpose, *options, "--output", f"new-{purpose}.pem", "--yes", **at)
    for purpose, use in (("ra-decrypt", "any"), ("ocsp", "ocsphelper"), ("tls", "sslserver")):
        run("openssl", "verify", "-x509_strict", "-purpose", use, "-CAfile", "devices-ca.pem", f"new-{purpose}.pem", **at)
    text = run("openssl", "x509", "-in", "new-tls.pem", "-noout", "-text", **at).stdout
    assert "DNS:pki.example.net, IP Address:192.0.2.1" in text
    listed = json.loads(site.scepd("cert", "list", "--json").stdout)
    assert len(listed) == 3
    for record in records(site):
        assert "the record is whole" in scepd("ca", "verify-record", record, "--key", site.directory / "scepd-audit.pem").stdout
    serial = x509.load_pem_x509_certificate((site.directory / "new-tls.pem").read_bytes()).serial_number
    site.scepd("cert", "revoke", f"{serial:x}", "--reason", "superseded")
    assert all(isinstance(row, list) for row in audit_rows(site))


PUBLISHED = {"crl": "http://pki.example.net/crl/root.crl", "ocsp": "http://pki.example.net/ocsp", "issuer": "http://pki.example.net/ca/root.cer"}
WHERE = "".join(f'{word}_urls = ["{url}"]\n' for word, url in PUBLISHED.items())


def said_in(path):
    """What a certificate says of where to ask, and what its key may do."""
    text = run("openssl", "x509", "-in", path, "-noout", "-text").stdout
    return {
        "urls": [url for url in PUBLISHED.values() if f"URI:{url}\n" in text],
        "usage": text.partition("X509v3 Key Usage: critical\n")[2].partition("\n")[0].strip(),
        "purpose": text.partition("X509v3 Extended Key Usage: \n")[2].partition("\n")[0].strip(),
    }


def test_C283_C052_what_an_issuer_certifies_says_where_it_publishes_as_a_devices_certificate_does(site):
    at, urls = {"cwd": site.directory}, list(PUBLISHED.values())
    site.scepd("ca", "create", "root-ca", "--subject", "CN=Root,O=Example", "--yes", **at)
    assert said_in(site.directory / "root-ca.pem")["urls"] == []
    key = "pkcs11:token=scepd;object="
    text = site.config.read_text() + f'\n[issuer.root]\nkey = "{key}root-ca"\ncertificate = "root-ca.pem"\n{WHERE}'
    site.config.write_text(text)
    for role, usage in (("sign", "Digital Signature"), ("decrypt", "Key Encipherment")):
        site.scepd("ca", "certify", "root", "--as", f"ra-{role}", "--key", f"root-{role}", "--output", f"{role}.pem", "--yes", **at)
        # C-052, and the purpose that Windows looks for: nothing but the URLs is new.
        assert said_in(site.directory / f"{role}.pem") == {"urls": urls, "usage": usage, "purpose": "1.3.6.1.4.1.311.20.2.1"}
        text += f'ra_{role} = {{ key = "{key}root-{role}", certificate = "{role}.pem" }}\n'
        site.config.write_text(text)
    site.scepd("ca", "certify", "root", "--as", "tls", "--key", "tls", "--name", "dns:a.example", "--output", "server.pem", "--yes", **at)
    assert said_in(site.directory / "server.pem")["urls"] == urls
    site.scepd("ca", "certify", "root", "--as", "tls", "--key", "tls", "--existing", "--name", "dns:a.example", "--no-urls", "--output", "bare.pem", "--yes", **at)
    assert said_in(site.directory / "bare.pem")["urls"] == []
    site.scepd("ca", "certify", "root", "--as", "ocsp", "--key", "ocsp", "--output", "ocsp.pem", "--yes", **at)
    assert said_in(site.directory / "ocsp.pem")["urls"] == []
    site.scepd("ca", "ra", "root", "--yes", **at)
    assert said_in(site.directory / "root-ra-decrypt-2.pem") == {"urls": urls, "usage": "Key Encipherment", "purpose": "1.3.6.1.4.1.311.20.2.1"}
    site.scepd("ca", "create", "sub-ca", "--subject", "CN=Sub", "--path-length", "0", "--validity", "5y", "--key", "root-ca", "--certificate", "root-ca.pem", "--yes", **at)
    assert said_in(site.directory / "sub-ca.pem")["urls"] == urls
    run("openssl", "verify", "-x509_strict", "-CAfile", "root-ca.pem", "sub-ca.pem", "sign.pem", "decrypt.pem", "server.pem", **at)
    # So is a next issuing CA that it signs.
    site.scepd("ca", "rollover", "devices", "--from", "2030-01-01T00:00:00Z", "--key", "root-ca", "--certificate", "root-ca.pem", "--write", "--yes", **at)
    assert said_in(site.directory / "devices-2-ca.pem")["urls"] == urls
    run("openssl", "verify", "-x509_strict", "-CAfile", "root-ca.pem", "devices-2-ca.pem", **at)
    for record in records(site)[-4:]:  # plans with URLs, and a CA that an issuer signed
        assert "the record is whole" in scepd("ca", "verify-record", record, "--key", site.directory / "scepd-audit.pem").stdout
    # The CA below is on record like any other: whoever asks at those URLs hears of its revocation.
    serial = x509.load_pem_x509_certificate((site.directory / "sub-ca.pem").read_bytes()).serial_number
    assert f"{serial:x}" in {row["serial"] for row in json.loads(site.scepd("cert", "list", "--json").stdout)}
    site.scepd("cert", "revoke", f"{serial:x}", "--reason", "superseded")
    assert all(isinstance(row, list) for row in audit_rows(site))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--as", "ocsp", "--crl-url", PUBLISHED["crl"]), "id-pkix-ocsp-nocheck"),
        (("--as", "ra-sign", "--crl-url", PUBLISHED["crl"], "--no-urls"), "none are to be written"),
        (("--as", "ra-sign", "--crl-url", "https://pki.example.net/x.crl"), "no http URL"),
        (("--as", "ra-sign", "--aia-url", "pki.example.net"), "is no http or https URL"),
        (("--as", "ra-sign", "--request", "/absent"), "/absent cannot be read"),
    ],
)
def test_urls_that_cannot_stand_in_a_certificate_are_refused(template, options, words, tmp_path):
    key = () if "--request" in options else ("--key", "never")
    command = ("ca", "certify", "devices", *options, *key, "--output", tmp_path / "x.pem", "--yes")
    told = template.scepd(*command, check=False)
    assert (told.returncode, words in told.stderr, "Traceback" in told.stderr) == (told.returncode or 1, True, False), told.stderr
    assert not (tmp_path / "x.pem").exists()


def test_urls_that_are_given_stand_in_place_of_the_configured_ones(pki, tmp_path):
    other = ("--crl-url", "http://a.example/1.crl", "--crl-url", "http://b.example/2.crl")
    wish = ("ca", "sign", "sub-ca.csr", "--key", "pkcs11:token=root;object=root-ca", "--certificate", "root-ca.pem", *other, "--output", tmp_path / "x.pem", "--plan")
    config = tmp_path / "scepd.toml"
    for text, expected in (("", ("", [])), (f'[issuer.root]\ncertificate = "{pki.directory}/root-ca.pem"\nkey = "pkcs11:object=root-ca"\n{WHERE}', ("root", [PUBLISHED["ocsp"]]))):
        config.write_text(text)
        config.chmod(0o600)
        (step,) = json.loads(scepd(*wish, "--config", config, cwd=pki.directory).stdout)["steps"]
        assert step["crl_urls"] == ["http://a.example/1.crl", "http://b.example/2.crl"]
        assert (step.get("issuer", ""), step.get("ocsp_urls", [])) == expected


STOPPING = """
import sys, scepd.cli.ceremony as ceremony, scepd.cli.main as main
create, left = ceremony.create, [1]
def failing(path, content, *more):
    if path.suffix == ".pem" and not left:
        raise SystemExit(9)
    left.clear() if path.suffix == ".pem" else None
    create(path, content, *more)
ceremony.create = failing
main.main()
"""


def test_an_interrupted_ceremony_goes_on_where_it_was(site):
    command = ("ca", "rollover", "devices", "--from", "2030-01-01T00:00:00Z", "--yes", "--config", site.config)
    stopped = run(sys.executable, "-c", STOPPING, *command, check=False)
    assert stopped.returncode == 9
    ca = (site.directory / "devices-2-ca.pem").read_bytes()
    again = run(sys.executable, "-m", "scepd.cli.main", *command, check=False)
    assert "devices-2-ca.pem exists already" in again.stderr
    (plan,) = (site.directory / "state" / "ceremonies").glob("unfinished-*.json")
    command = again.stderr.partition("this goes on with it: ")[2].partition("\n")[0]
    assert command == f"scepd ca perform {plan} --config {site.config}"
    result = scepd(*shlex.split(command)[1:], "--yes")
    assert (site.directory / "devices-2-ca.pem").read_bytes() == ca
    assert "[issuer.devices-2]" in result.stdout
    assert not plan.exists()
    run("openssl", "verify", "-CAfile", "devices-2-ca.pem", "devices-2-ra-decrypt.pem", "devices-2-ra-sign.pem", cwd=site.directory)
    assert "the record is whole" in scepd("ca", "verify-record", records(site)[0], "--key", site.directory / "scepd-audit.pem").stdout


def test_without_an_audit_key_nothing_is_signed(site):
    text = site.config.read_text()
    start = text.index("[audit]")
    site.config.write_text(text[:start] + text[text.index("[issuer.devices]") :])
    told = site.scepd("ca", "create", "root-ca", "--subject", "CN=Root", "--yes", check=False)
    assert told.returncode == 1
    assert "no audit key" in told.stderr


def test_N1_no_verb_exports_a_private_key(pki):
    from scepd.cli.ca import ca
    from scepd.cli.hsm import hsm

    assert not [word for group in (ca, hsm) for word in group.commands if "export" in word or "backup" in word]
    for path in [*records(pki), *pki.directory.glob("*.pem")]:
        assert "PRIVATE" not in path.read_text()
