"""`scepd profile`, `scepd entity` and `scepd challenge token` over a real store, without a service."""

import json
import re
import tomllib

import pytest
from click.testing import CliRunner

from scepd.cli.main import program
from scepd.message.csr import build_csr
from scepd.x509.names import from_text
from tests import make


@pytest.fixture
def run(elliptic):
    def invoke(*arguments, config=elliptic.config, **options):
        return CliRunner().invoke(program, [*map(str, arguments), "--config", str(config)], **options)

    return invoke


@pytest.fixture
def with_register(elliptic, tmp_path):
    """The same installation with a register in its profile."""
    text = elliptic.config.read_text()
    assert 'method = "one-time"' in text
    registered = text.replace("challenge = [", 'challenge = [{ method = "entity" }, ', 1)
    path = elliptic.directory / "register.toml"
    path.write_text(registered)
    path.chmod(0o600)
    yield path
    path.unlink()


@pytest.fixture
def csr(tmp_path):
    def write(challenge=None, subject="CN=r1.example.net", *, pem=True):
        der = build_csr(subject=from_text(subject), private_key=make.device().key, challenge=challenge)
        path = tmp_path / "r1.csr"
        body = der
        if pem:
            import base64

            lines = base64.encodebytes(der).decode()
            body = f"-----BEGIN CERTIFICATE REQUEST-----\n{lines}-----END CERTIFICATE REQUEST-----\n".encode()
        path.write_bytes(body)
        return path

    return write


def test_a_profile_is_shown_in_words_a_line_for_each_decision(run):
    shown = run("profile", "show", "default").stdout
    for line in (
        r"enabled +yes",
        r"challenge 1 method +one-time",
        r"crypto digests +SHA256, SHA384, SHA512",
        r"crypto transports +oaep-sha1, oaep-sha256, pkcs1v15",
        r"keys ed25519 +no",
    ):
        assert re.search(f"(?m)^{line}$", shown), shown
    assert not re.search("True|False|None|[{}]", shown), shown
    listed = run("profile", "list").stdout.splitlines()
    assert listed[1].split() == ["default", "yes", "default", "devices", "one-time", "yes"]


def test_the_lines_that_explain_shows_of_tables_are_toml(run, csr):
    shown = run("profile", "explain", "default", csr()).stdout
    lines = dict(re.findall(r"(?m)^ +\[profile\.default\] ((?:subject|names|key)) = (.+)$", shown))
    tables = tomllib.loads("\n".join(f"{name} = {value}" for name, value in lines.items()))
    assert set(tables) == {"subject", "names", "key"}
    assert tables["names"] == {"common_name": True}
    assert "CN" in tables["subject"]["allow"]


@pytest.mark.parametrize("pem", [True, False])
def test_N9_explain_says_what_would_become_of_a_request(run, csr, pem):
    text = run("challenge", "new", "default").stdout.strip()
    path = csr(pem=pem)
    result = run("profile", "explain", "default", path, "--challenge", text)
    assert result.exit_code == 0, result.output
    assert "it would be issued" in result.output
    assert "[profile.default]" in result.output
    assert text not in result.output
    states = {row["state"] for row in json.loads(run("challenge", "list", "--json").output)}
    assert states <= {"free", "cancelled"}
    refused = run("profile", "explain", "default", path, "--json")
    assert refused.exit_code == 1
    explained = json.loads(refused.output)
    assert explained["outcome"] == "refused"
    assert any("challenge_missing" in step["reason"] for step in explained["steps"])


@pytest.fixture
def with_hook(elliptic):
    """Write the same installation with a compliance hook that nobody serves."""
    paths = []

    def write(more=""):
        hook = (
            'compliance = { url = "https://mdm.example.net/scep/compliance", trust = "mdm-ca.pem", '
            f'secret = {{ file = "mdm.key" }}{more} }}'
        )
        text = re.sub(r"(?m)^\[profile\.default\]$", lambda found: f"{found[0]}\n{hook}", elliptic.config.read_text())
        assert hook in text
        (elliptic.directory / "mdm-ca.pem").write_bytes((elliptic.directory / "devices-ca.pem").read_bytes())
        for name, body in (("mdm.key", "k" * 43), ("hook.toml", text)):
            path = elliptic.directory / name
            path.write_text(body)
            path.chmod(0o600)
            paths.append(path)
        return elliptic.directory / "hook.toml"

    yield write
    for path in paths:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("more", "silence"),
    [("", 'on_failure = "refuse": 503'), (', on_failure = "pending"', 'on_failure = "pending": left to a person')],
)
def test_C10_explain_shows_where_the_compliance_hook_would_be_asked(run, csr, with_hook, more, silence):
    text = run("challenge", "new", "default").stdout.strip()
    result = run("profile", "explain", "default", csr(), "--challenge", text, "--json", config=with_hook(more))
    assert result.exit_code == 0, result.output
    steps = json.loads(result.output)["steps"]
    names = [step["step"] for step in steps]
    assert names[names.index("challenge one-time") + 1] == "compliance"
    assert names.index("compliance") < names.index("subject") < names.index("draft")
    asked = steps[names.index("compliance")]
    assert asked["verdict"] == "not asked"
    assert asked["reason"].startswith("mdm.example.net would be asked now, and is taken to say yes")
    assert silence in asked["reason"]
    assert "/scep/compliance" not in result.output


def test_N9_explain_of_what_is_no_request(run, tmp_path):
    path = tmp_path / "x.csr"
    path.write_bytes(b"hello")
    assert run("profile", "explain", "default", path).exit_code == 1
    path.write_bytes(b"-----BEGIN CERTIFICATE REQUEST-----\nA\n-----END CERTIFICATE REQUEST-----")
    assert "cannot be read" in run("profile", "explain", "default", path).output
    missing = run("profile", "explain", "nobody", path)
    assert (missing.exit_code, "no profile" in missing.output or "cannot be read" in missing.output) == (1, True)


def test_profiles_are_listed_shown_and_switched(run):
    assert "default" in run("profile", "list").output
    shown = json.loads(run("profile", "show", "default", "--json").output)
    assert (shown["name"], shown["enabled"]) == ("default", True)
    assert "is off" in run("profile", "disable", "default").output
    assert json.loads(run("profile", "list", "--json").output)[0]["enabled"] is False
    assert "is on" in run("profile", "enable", "default").output
    assert run("profile", "show", "nobody").exit_code == 1


def test_tokens_are_made_listed_and_revoked(run):
    made = run("challenge", "token", "new", "jamf", "--profile", "default", "--most", "5", "--valid", "1d")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert len(secret) == 34
    listed = run("challenge", "token", "list", "--json").output
    assert secret not in listed
    assert json.loads(listed)[0]["left"] == 5
    assert "is revoked" in run("challenge", "token", "revoke", "jamf").output
    assert run("challenge", "token", "revoke", "jamf").exit_code == 1
    assert run("challenge", "token", "new", "b", "--profile", "default", "--valid", "soon").exit_code == 2
    pattern = run("challenge", "token", "new", "c", "--profile", "default", "--cn-pattern", "r*", "--json")
    assert json.loads(pattern.output)["cn_pattern"] == "r*"


def test_entities_are_entered_imported_reset_and_removed(run, with_register, tmp_path):
    entered = run(
        "entity", "add", "default", "--cn", "e1", "--attribute", "O=Example", "--dns", "e1.example.net",
        config=with_register,
    )  # fmt: skip
    assert entered.exit_code == 0, entered.output
    file = tmp_path / "entities.csv"
    file.write_text("cn,code,O\ne2,,Example\ne3,long enough,\n")
    imported = run("entity", "import", file, "--profile", "default", config=with_register)
    assert imported.exit_code == 0, imported.output
    assert imported.stdout.startswith("e2,")
    assert "e3" not in imported.stdout
    rows = {row["cn"]: row for row in json.loads(run("entity", "list", "--json").output)}
    assert rows.keys() == {"e1", "e2", "e3"}
    assert (rows["e3"]["tries_left"], rows["e1"]["attributes"]) == (300, {"O": "Example"})
    number = rows["e1"]["id"]
    assert "e1.example.net" in run("entity", "show", number).output
    again = run("entity", "reset", number, config=with_register)
    assert again.stdout.strip() != entered.stdout.strip()
    chosen = run("entity", "reset", number, "--code", "long enough", config=with_register)
    assert "that was given" in chosen.output
    assert "is removed" in run("entity", "remove", number).output
    assert run("entity", "remove", number).exit_code == 1
    file.write_text("cn,O\ne2,Example\n,x\ne5,\x07\n")
    wrong = run("entity", "import", file, "--profile", "default", config=with_register)
    assert wrong.exit_code == 1
    for line in (2, 3, 4):
        assert f"line {line}: " in wrong.output
    assert "e5" not in run("entity", "list").output
    file.write_bytes(b"cn\n\xff\n")
    assert run("entity", "import", file, "--profile", "default", config=with_register).exit_code == 2
    assert run("entity", "add", "default", "--cn", "x", "--attribute", "O", config=with_register).exit_code == 2
    assert "no register" in run("entity", "add", "default", "--cn", "x").output
