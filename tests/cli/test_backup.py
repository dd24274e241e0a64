"""Backups: what is in them, what never is, what damage does, and putting them back (threats S-105)."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from scepd.app.keys import key_checks
from scepd.cli.backup_make import Choice, make_backup
from scepd.cli.backup_manifest import Manifest, digest_of
from scepd.cli.backup_source import opened
from scepd.cli.restore import _put
from scepd.cli.restore_check import judge
from scepd.config.load import load_inventory
from scepd.refusal import OperatorError
from tests.cli.conftest import initialise, scepd

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An installation with an included file, a bundle, networks and a secret of its own."""
    made = initialise(tmp_path_factory.mktemp("bk") / "var", "ec-p256")
    directory = made.directory
    (directory / "conf.d").mkdir()
    (directory / "networks.txt").write_text("192.0.2.0/24\n")
    secret = directory / "lab-challenge"
    secret.write_text("a-static-challenge-that-nobody-sees")
    secret.chmod(0o600)
    (directory / "conf.d/lab.toml").write_text(
        '[profile.lab]\nissuer = "devices"\nvalidity = "30d"\n'
        'challenge = [{ method = "static", secret = { file = "lab-challenge" } }]\n'
    )
    made.config.write_text(
        'include = ["conf.d/*.toml"]\n'
        + made.config.read_text().replace(
            "[listener.plain]", '[listener.plain]\ntrusted_proxies = "networks.txt"\nclient_address_header = "X-Forwarded-For"'
        )
    )
    made.scepd("challenge", "new", "default")
    return made


def take(home, target, **choice):
    inventory = load_inventory(home.config)
    settings = inventory.settings
    return make_backup(inventory, key_checks(settings.issuers, settings.audit), target, Choice(**choice), NOW)


def contents(directory):
    return {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}


def test_S105_a_backup_holds_all_but_the_secrets_and_the_token(home, tmp_path):
    target = tmp_path / "one"
    home.scepd("backup", target)
    found = contents(target)
    assert set(found) == {
        "manifest.json",
        "store/scepd.sqlite",
        *(
            f"configuration/{name}"
            for name in (
                "scepd.toml",
                "conf.d/lab.toml",
                "networks.txt",
                "softhsm2.conf",
                "tls.pem",
                "scepd-audit.pem",
                "devices-ca.pem",
                "devices-ra-sign.pem",
                "devices-ra-decrypt.pem",
            )
        ),
    }
    modes = {path.stat().st_mode & 0o777 for path in target.rglob("*")}
    assert modes == {0o600, 0o700}
    assert not list(tmp_path.glob(".*"))
    manifest = Manifest.from_json((target / "manifest.json").read_text())
    assert manifest.marks.position.challenges == 1
    assert {left.role for left in manifest.left_out} == {"pin", "store-key", "secret"}
    assert {key.uri.partition("object=")[2] for key in manifest.token.keys} == {
        "devices-ca",
        "devices-ra-sign",
        "devices-ra-decrypt",
        "scepd-audit",
    }
    again = home.scepd("backup", target, check=False)
    assert again.returncode == 1
    assert "exists already" in again.stderr


def secrets_of(home):
    names = ("hsm-pin", "hsm-so-pin", "store-key", "lab-challenge", "tls.key")
    return {name: (home.directory / name).read_bytes().strip() for name in names}


@pytest.mark.parametrize(
    ("choice", "inside"),
    [
        ({}, set()),
        ({"store_key": True}, {"store-key"}),
        ({"secrets": True}, {"lab-challenge", "tls.key"}),
        ({"store_key": True, "secrets": True}, {"store-key", "lab-challenge", "tls.key"}),
    ],
)
def test_S105_S113_secrets_by_choice_only_and_a_pin_never(home, tmp_path, choice, inside):
    take(home, tmp_path / "b.tar", **choice)
    octets = (tmp_path / "b.tar").read_bytes()
    assert {name for name, secret in secrets_of(home).items() if secret in octets} == inside
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    with opened(tmp_path / "b.tar") as backup:
        assert backup.faults == ()


def test_a_private_key_beside_a_certificate_is_not_taken_unasked(home, tmp_path):
    inventory = load_inventory(home.config)
    (home.directory / "networks.txt").write_text("# -----BEGIN PRIVATE KEY-----\n192.0.2.0/24\n")
    try:
        with pytest.raises(OperatorError, match="holds a private key"):
            make_backup(inventory, (), tmp_path / "b", Choice(), NOW)
    finally:
        (home.directory / "networks.txt").write_text("192.0.2.0/24\n")
    assert not list(tmp_path.iterdir())


def test_a_backup_that_cannot_be_written_leaves_nothing(home, tmp_path):
    with pytest.raises(OperatorError, match="cannot be written"):
        take(home, tmp_path / "nowhere" / "b")
    (tmp_path / "b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match="exists already"):
        take(home, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_S105_restore_check_finds_a_sound_backup_and_its_keys(home, tmp_path):
    take(home, tmp_path / "b.tar")
    result = home.scepd("restore-check", tmp_path / "b.tar", "--json")
    found = json.loads(result.stdout)
    assert found["ok"]
    assert [key["state"] for key in found["keys"]] == ["present"] * 4
    words = home.scepd("restore-check", tmp_path / "b.tar", "--no-token").stdout
    assert "10 files, each with its SHA-256" in words


def test_S105_restore_check_names_keys_that_are_not_there(home, tmp_path):
    take(home, tmp_path / "b")
    path = tmp_path / "b/manifest.json"
    text = path.read_text().replace("object=devices-ca", "object=devices-gone")
    fields = json.loads(text)
    fields["token"]["keys"][1]["public_key"] = "00" * 32
    path.write_text(json.dumps(fields))
    result = home.scepd("restore-check", tmp_path / "b", check=False)
    assert result.returncode == 1
    assert "no private key pkcs11:token=scepd;object=devices-gone" in result.stdout
    assert "devices-ra-sign (sign): another key has this name" in result.stdout


@pytest.fixture
def backup(home, tmp_path):
    take(home, tmp_path / "b")
    return tmp_path / "b"


def faults(backup, home):
    with opened(backup) as source:
        verdict = judge(source, home.config, ask_token=False)
    assert not verdict.is_usable
    return " | ".join((*verdict.faults, *verdict.missing))


def test_S105_damage_to_any_file_is_found(backup, home):
    for name, path in contents(backup).items():
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        if name == "manifest.json":
            with pytest.raises(OperatorError, match="the manifest cannot be read"), opened(backup):
                pass
        else:
            assert f"{name} is not what was backed up" in faults(backup, home)
        path.write_bytes(whole)


def test_S105_what_is_missing_too_much_or_elsewhere_is_found(backup, home):
    store = backup / "store/scepd.sqlite"
    store.rename(backup / "stray")
    assert "store/scepd.sqlite is missing | stray is not in the manifest" in faults(backup, home)
    store.symlink_to(backup / "stray")
    assert "store/scepd.sqlite leads out of the backup" in faults(backup, home)


def rewrite(backup, change):
    path = backup / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_S105_a_manifest_that_lies_is_found(backup, home):
    rewrite(backup, lambda fields: fields["marks"].update(challenges=2))
    assert "its store is not the one of its manifest" in faults(backup, home)
    rewrite(backup, lambda fields: fields["files"].append({**fields["files"][0], "name": "../scepd.toml"}))
    assert "../scepd.toml leads out" in faults(backup, home)
    rewrite(backup, lambda fields: fields["token"].update(module="/nowhere/libpkcs11.so"))
    assert "/nowhere/libpkcs11.so (the PKCS#11 module)" in faults(backup, home)
    rewrite(backup, lambda fields: fields["left_out"][0].update(path="/nowhere/pin"))
    assert "/nowhere/pin (pin)" in faults(backup, home)
    rewrite(backup, lambda fields: fields.update(files=[one for one in fields["files"] if one["role"] != "store"]))
    (backup / "store/scepd.sqlite").unlink()
    with opened(backup) as source:
        assert source.manifest.of_role("store") is None
    rewrite(backup, lambda fields: fields.update(format=2))
    with pytest.raises(OperatorError, match="format 2 is not known"), opened(backup):
        pass
    (backup / "manifest.json").unlink()
    with pytest.raises(OperatorError, match="is no backup"), opened(backup):
        pass


@pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "a/../../escape"])
def test_S105_a_tar_that_leads_out_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(OperatorError, match="which no backup has"), opened(tmp_path / "b.tar"):
        pass
    with tarfile.open(tmp_path / "l.tar", "w") as archive:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(OperatorError, match="which no backup has"), opened(tmp_path / "l.tar"):
        pass
    (tmp_path / "junk.tar").write_bytes(b"junk" * 500)
    with pytest.raises(OperatorError, match="cannot be read as a backup"), opened(tmp_path / "junk.tar"):
        pass


@pytest.fixture(scope="module")
def lone(home, tmp_path_factory):
    """A backup whose state directory and configuration were elsewhere, where nothing is yet."""
    place = tmp_path_factory.mktemp("lone")
    take(home, place / "b")

    def move(fields):
        for entry in fields["files"]:
            entry["path"] = entry["path"].replace(str(home.directory), str(place / "new"))
        fields.update(state=str(place / "new/state"), runtime=str(place / "new/run"))

    rewrite(place / "b", move)
    return place


@pytest.fixture
def planted(lone, tmp_path):
    """The same in a directory of the test, with a file more."""

    def plant(path, **fields):
        shutil.copytree(lone / "b", tmp_path / "b", dirs_exist_ok=True)
        (tmp_path / "b/extra").write_bytes(b"* * * * * root true")
        sha256, size = digest_of(tmp_path / "b/extra")
        entry = {"name": "extra", "role": "named", "path": str(path), "sha256": sha256, "size": size}
        rewrite(tmp_path / "b", lambda found: (found["files"].append(entry), found.update(fields)))
        text = (tmp_path / "b/manifest.json").read_text()
        (tmp_path / "b/manifest.json").write_text(text.replace(str(lone / "new"), str(tmp_path / "new")))
        return tmp_path

    return plant


def digest(place):
    return hashlib.sha256((place / "b/manifest.json").read_bytes()).hexdigest()


def proven(place, *options):
    return scepd("restore", "--yes", "--manifest", digest(place), *options, place / "b", check=False)


def test_S105_restore_shows_where_it_writes_and_asks_first(planted, tmp_path):
    planted(tmp_path / "new/more.pem")
    told = scepd("restore", tmp_path / "b", check=False)  # nobody answers
    assert told.returncode == 1
    assert f"  {tmp_path}/new/more.pem   (named, 19 octets)" in told.stderr.splitlines()
    assert f"  {tmp_path}/new/state/   (directory)" in told.stderr.splitlines()
    assert "Write these 13 for user" in told.stderr
    assert not (tmp_path / "new").exists()
    told = proven(tmp_path)
    assert f"wrote {tmp_path}/new/more.pem" in told.stdout
    assert (tmp_path / "new/state/scepd.sqlite").exists()


def test_S105_a_manifest_that_nothing_proves_is_not_gone_by_unasked(planted, tmp_path):
    keys = tmp_path / "root/.ssh"
    keys.mkdir(parents=True)
    planted(keys / "authorized_keys", state=str(keys))
    for options in ((), ("--elsewhere",), ("--directory", tmp_path / "b", "--elsewhere")):
        told = scepd("restore", "--yes", *options, tmp_path / "b", check=False)
        assert told.returncode == 1
        assert "nothing proves that scepd backup wrote this manifest" in told.stderr
    told = scepd("restore", "--yes", "--manifest", "0" * 64, tmp_path / "b", check=False)
    assert told.returncode == 1
    assert f"the manifest has SHA-256 {digest(tmp_path)}, not the one that was named" in told.stderr
    (tmp_path / "new").mkdir()
    told = scepd("restore", "--yes", "--directory", tmp_path / "new", tmp_path / "b", check=False)
    assert told.returncode == 1
    assert f"{keys}/authorized_keys is outside of {tmp_path}/new" in told.stderr
    assert list(keys.iterdir()) == []
    assert list((tmp_path / "new").iterdir()) == []


def test_S105_an_unproven_backup_is_restored_below_the_named_directories_for_their_owner(planted, tmp_path):
    planted(tmp_path / "new/more.pem", user="nobody", state=str(tmp_path / "elsewhere/state"))
    (tmp_path / "new").mkdir()
    told = scepd("restore", "--yes", "--directory", tmp_path / "new", tmp_path / "b")
    assert f"wrote {tmp_path}/new/state/scepd.sqlite" in told.stdout
    assert {path.owner() for path in (tmp_path / "new").rglob("*")} == {(tmp_path / "new").owner()}
    assert not (tmp_path / "elsewhere").exists()  # nor a directory made by the manifest's word
    checked = scepd("restore-check", "--no-token", "--manifest", "0" * 64, tmp_path / "b", check=False)
    assert "not the one that was named" in checked.stderr


def test_S105_what_backup_prints_is_what_restore_takes(home, tmp_path):
    told = home.scepd("backup", tmp_path / "b").stdout
    assert f"manifest  SHA-256 {digest(tmp_path)}" in told
    packed = json.loads(home.scepd("backup", tmp_path / "c.tar", "--json").stdout)["manifest_sha256"]
    home.scepd("restore-check", "--no-token", "--manifest", packed.upper(), tmp_path / "c.tar")
    with tarfile.open(tmp_path / "c.tar") as archive:
        manifest = archive.extractfile("manifest.json").read()
    assert hashlib.sha256(manifest).hexdigest() == packed  # its own, whatever that of the directory is


def test_S105_a_backup_that_changes_while_a_person_thinks_is_not_written(lone, tmp_path):
    shutil.copytree(lone / "b", tmp_path / "b")
    with opened(tmp_path / "b") as source:
        assert source.faults == ()
        for role, name in (("store", "scepd.sqlite"), ("configuration", "scepd.toml")):
            entry = attrs.evolve(source.manifest.of_role(role), path=str(tmp_path / name))
            source.file(entry.name).write_bytes(b"module = '/tmp/x.so'")
            with pytest.raises(OperatorError, match="was changed while it was being restored"):
                _put(source, entry, None)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_S105_a_planted_manifest_writes_nowhere_else_unasked(planted, tmp_path):
    cron = tmp_path / "etc/cron.d/x"
    planted(cron)
    told = proven(tmp_path)
    assert told.returncode == 1
    assert f"{cron} is outside of {tmp_path}/new/state and {tmp_path}/new" in told.stderr
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "new").exists()
    assert f"wrote {cron}" in proven(tmp_path, "--elsewhere").stdout
    assert cron.exists()


@pytest.mark.parametrize("state", ["/", "/etc", "//"])
def test_S105_a_directory_of_the_system_is_no_state_directory(planted, tmp_path, state):
    cron = tmp_path / "etc/cron.d/x"
    planted(cron, state=state)
    told = proven(tmp_path)
    assert told.returncode == 1
    assert "is outside of" in told.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["{}/new/../etc/x", "relative/x", "../x", ".."])
def test_S105_a_path_that_is_not_plain_is_never_written(planted, tmp_path, path):
    planted(path.format(tmp_path))
    told = proven(tmp_path, "--elsewhere")
    assert told.returncode == 1
    assert "which no backup does" in told.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_S105_what_is_no_file_is_in_the_way(planted, tmp_path, make):
    place = tmp_path / "there"
    make(place)
    planted(place)
    told = proven(tmp_path, "--elsewhere")
    assert told.returncode == 1
    assert f"{place} is there and differs" in told.stderr
    assert not (tmp_path / "new").exists()


def test_S105_restore_does_not_follow_links(planted, tmp_path):
    planted(tmp_path / "new/state/below/x")
    (tmp_path / "etc").mkdir()
    (tmp_path / "new/state").mkdir(parents=True)
    (tmp_path / "new/state/below").symlink_to(tmp_path / "etc")
    told = proven(tmp_path, "--elsewhere")
    assert told.returncode == 1
    assert f"{tmp_path}/new/state/below is a symbolic link" in told.stderr
    shutil.rmtree(tmp_path / "new")
    (tmp_path / "new").symlink_to(tmp_path / "etc")
    told = proven(tmp_path)
    assert told.returncode == 1
    assert f"{tmp_path}/etc/" in told.stderr
    assert "is outside of" in told.stderr
    assert list((tmp_path / "etc").iterdir()) == []


def test_S105_restore_writes_what_is_missing_and_over_nothing(home, tmp_path):
    manifest = take(home, tmp_path / "b.tar", store_key=True, secrets=True)
    directory = home.directory
    kept = tmp_path / "kept"
    shutil.copytree(directory, kept)
    restore = ("restore", "--yes", "--manifest", manifest.sha256, tmp_path / "b.tar")
    refused = scepd(*restore, check=False)
    assert refused.returncode == 1
    assert "there is a store at" in refused.stderr
    for path in (directory / "state").glob("scepd.sqlite*"):
        path.unlink()
    (directory / "tls.pem").write_text("another\n")
    refused = scepd(*restore, check=False)
    assert "tls.pem is there and differs" in refused.stderr
    assert not (directory / "state/scepd.sqlite").exists()
    shutil.rmtree(directory / "conf.d")
    for name in ("tls.pem", "store-key", "scepd.toml", "hsm-pin"):
        (directory / name).unlink()
    done = scepd(*restore, check=False)
    assert done.returncode == 0, done.stderr
    assert f"still needed: {directory}/hsm-pin (pin)" in done.stderr
    for name in ("tls.pem", "store-key", "scepd.toml", "conf.d/lab.toml", "lab-challenge"):
        assert (directory / name).read_bytes() == (kept / name).read_bytes()
        assert (directory / name).stat().st_mode & 0o777 == 0o600
    assert (directory / "state/scepd.sqlite").stat().st_mode & 0o777 == 0o600
    shutil.copy2(kept / "hsm-pin", directory / "hsm-pin")
    home.scepd("check", "--hsm")
    assert json.loads(home.scepd("challenge", "list", "--json").stdout)[0]["state"] == "free"
