"""The nouns over a real store, without a service."""

import json
import re

import pytest
from click.testing import CliRunner

from scepd.app.clock import UtcClock
from scepd.challenge.digest import keyed_digest, load_store_key
from scepd.cli.main import program
from scepd.config.load import load
from scepd.store.engines import StoreConnection, open_engine
from scepd.store.reader import Reader
from scepd.store.repository import Repository
from tests.store.building import Device, Issuer, enrol, make_intent, make_petition

CHALLENGE = re.compile(r"([23456789a-hjkmnp-z]{4}-){6}[23456789a-hjkmnp-z]{4}")


@pytest.fixture
def run(elliptic):
    def invoke(*arguments, config=elliptic.config):
        return CliRunner().invoke(program, [*map(str, arguments), "--config", str(config)])

    return invoke


@pytest.fixture
def reader(elliptic):
    settings = load(elliptic.config)
    connection = StoreConnection(open_engine(settings.store.url, settings.appliance.state))
    yield Reader(connection)
    connection.close()


def test_a_new_challenge_is_printed_once_and_stored_as_a_digest(run, reader, elliptic):
    result = run(
        "challenge", "new", "default", "--cn", "r1.example.net", "--dns", "R1.example.net", "--ip", "192.0.2.7"
    )
    assert result.exit_code == 0, result.output
    text = CHALLENGE.search(result.output)[0]
    key = load_store_key(load(elliptic.config).store.key_file)
    stored = reader.find_challenge("default", keyed_digest(key, text))
    assert stored.common_name == "r1.example.net"
    assert set(stored.names) == {"dns:r1.example.net", "ip:192.0.2.7"}
    listed = run("challenge", "list", "--json").output
    assert text not in listed
    assert text not in run("challenge", "list").output
    assert text.encode() not in b"".join(path.read_bytes() for path in elliptic.directory.rglob("scepd.sqlite*"))


def test_a_change_is_audited_with_the_person(run, reader):
    made = json.loads(run("challenge", "new", "default", "--json").output)
    (row,) = reader.audit(target=f"challenge {made['id']}")
    assert row.actor.startswith(("user ", "uid "))
    assert made["challenge"] not in str(row)


def test_many_challenges_are_a_list(run):
    made = json.loads(
        run("challenge", "new", "default", "--count", "3", "--valid", "2h", "--uses", "5", "--json").output
    )
    assert len({one["challenge"] for one in made}) == 3
    assert {one["uses"] for one in made} == {5}
    plain = run("challenge", "new", "default", "--count", "3")
    assert len(re.findall(CHALLENGE, plain.output)) == 3


def test_a_challenge_is_cancelled_once(run):
    made = json.loads(run("challenge", "new", "default", "--json").output)
    assert run("challenge", "cancel", made["id"]).exit_code == 0
    states = {row["id"]: row["state"] for row in json.loads(run("challenge", "list", "--json").output)}
    assert states[made["id"]] == "cancelled"
    again = run("challenge", "cancel", made["id"])
    assert again.exit_code == 1
    assert "is cancelled" in again.output


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["challenge", "new", "nobody"], 1, "no profile 'nobody'"),
        (["challenge", "new", "default", "--valid", "soon"], 2, "no duration"),
        (["challenge", "new", "default", "--valid", "900w"], 1, "for that long"),
        (["challenge", "new", "default", "--cn", "x\x07"], 1, "common name"),
        (["challenge", "new", "default", "--dns", "a b"], 1, "no DNS name"),
        (["challenge", "new", "default", "--ip", "1.2.3"], 1, "no IP address"),
        (["challenge", "cancel", "4711"], 1, "no challenge 4711"),
        (["cert", "show", "0c"], 1, "no certificate c"),
        (["cert", "show", "hello"], 2, "no serial"),
        (["request", "show", "42"], 1, "no request 42"),
        (["request", "show", "a/b ?&%"], 1, "no request a/b ?&%"),
        (["request", "approve", "4711"], 1, "no request 4711"),
        (["request", "reject", "4711", "--detail", "who?"], 1, "no request 4711"),
        (["request", "approve", "t1"], 2, "t1"),
        (["request", "adopt", "node-b"], 1, "node 'node-b' left nothing unfinished"),
        (["request", "list", "--state", "waiting"], 2, "waiting"),
        (["cert", "revoke", "0c"], 1, "no certificate c"),
        (["cert", "revoke", "hello"], 2, "no serial"),
        (["cert", "revoke", "0c", "--reason", "removeFromCRL"], 2, "removeFromCRL"),
        (["cert", "revoke", "0c", "--invalid-since", "soon"], 1, "invalid_since is no time"),
        (["cert", "release", "0c", "--issuer", "devices"], 1, "no certificate c"),
    ],
)
def test_what_cannot_be_done_is_said_readably(run, arguments, status, words):
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert words in result.output


@pytest.mark.parametrize("noun", ["cert", "request"])
def test_empty_lists_are_json_too(run, noun):
    assert json.loads(run(noun, "list", "--json").output) == []
    assert "no " in run(noun, "list").output


def test_a_configuration_that_is_not_there_leaves_with_78(run, tmp_path):
    result = run("challenge", "list", config=tmp_path / "none.toml")
    assert result.exit_code == 78
    for part in ("error: ", "   at: ", "  try: "):
        assert part in result.output


def test_every_problem_of_a_configuration_is_printed(run, elliptic, tmp_path):
    broken = tmp_path / "scepd.toml"
    text = elliptic.config.read_text().replace('validity = "1y"', 'validity = "soon"').replace("issuer =", "isuer =")
    broken.write_text(text)
    broken.chmod(0o600)
    result = run("challenge", "list", config=broken)
    assert result.exit_code == 78
    assert result.output.count("error: ") >= 2


@pytest.fixture
def repository(elliptic):
    settings = load(elliptic.config)
    engine = open_engine(settings.store.url, settings.appliance.state)
    opened = Repository(engine, owner="alpha/0", clock=UtcClock())
    yield opened
    opened.close()


def test_C160_a_waiting_request_is_shown_approved_and_another_rejected(run, repository):
    issuer = Issuer.make()
    one, two = (
        repository.petition(make_petition(issuer, Device.make(f"CN=w{number}"), csr_fingerprint_sha1="5f" * 20))[0]
        for number in range(2)
    )
    listed = json.loads(run("request", "list", "--state", "pending", "--json").output)
    assert {row["id"] for row in listed} == {str(one.id), str(two.id)}
    shown = run("request", "show", one.id).output
    assert one.csr_fingerprint in shown
    assert "5f" * 20 in shown
    approved = run("request", "approve", one.id)
    assert approved.exit_code == 0, approved.output
    assert f"request {one.id} is approved" in approved.output
    assert one.csr_fingerprint in approved.output
    rejected = json.loads(run("request", "reject", two.id, "--detail", "not ours\x1b[2J", "--json").output)
    assert (rejected["state"], rejected["detail"]) == ("REJECTED", "not ours\x1b[2J")
    assert "\x1b" not in run("request", "show", two.id).output
    again = run("request", "approve", two.id)
    assert again.exit_code == 1
    assert "it is REJECTED (by " in again.output
    assert "no pending requests" in run("request", "list", "--state", "pending").output


def test_C296_a_certificate_is_held_released_and_revoked(run, repository):
    issued = enrol(repository, Issuer.make(), Device.make("CN=held"))
    serial = f"{issued.serial:x}"
    held = run("cert", "revoke", serial, "--reason", "certificatehold")
    assert held.exit_code == 0, held.output
    assert f"certificate {serial} is on hold" in held.output
    assert "is released" in run("cert", "release", serial).output
    since = ["--invalid-since", "2026-01-31T12:00:00Z", "--issuer", "main"]
    ended = json.loads(run("cert", "revoke", f"0x{serial}", "--reason", "keyCompromise", *since, "--json").output)
    assert (ended["state"], ended["revocation_reason"]) == ("revoked", "keyCompromise")
    assert ended["invalid_since"] == "2026-01-31T12:00:00Z"
    shown = run("cert", "show", serial).output
    assert "keyCompromise" in shown
    again = run("cert", "revoke", serial)
    assert again.exit_code == 1
    assert "was revoked" in again.output


def test_what_a_gone_node_had_begun_is_adopted(run, repository):
    intent = make_intent(Issuer.make(), Device.make("CN=r9"), profile="default")
    claimed, _ = repository.claim(intent)
    result = run("request", "adopt", "alpha")
    assert result.exit_code == 0, result.output
    assert "CN=r9" in result.output
    assert repository.transaction(claimed.id).owner.endswith("/adopted")
