"""Canary secrets through a whole life of the service, then a search for them wherever something could have kept them."""

import base64
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from scepd.message.certrep import read_certrep
from scepd.message.names import PkiStatus
from scepd.message.query import build_get
from tests import make
from tests.live.device import certificate
from tests.live.killing import wait_until as wait_for_words
from tests.live.processes import descendants, read_process
from tests.live.server import BIN, copy_of, run
from tests.ports import free_port

pytestmark = pytest.mark.live
FORMATS = ["logfmt", "text", "json"]
# What holds a secret by its purpose; everything else in the installation is searched.
KEEPERS = {"hsm-pin", "hsm-so-pin", "store-key", "static-challenge", "tls.key"}


# The search -----------------------------------------------------------------------------------------------------


def spellings(secret):
    """Return every form in which a secret could stand somewhere."""
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode(), secret.hex(":").encode()}
    forms.add(quote(secret, safe="").encode())
    forms.add(b"".join(b"%%%02X" % octet for octet in secret))
    forms.add(b"".join(b"%%%02x" % octet for octet in secret))
    forms.add(repr(secret)[2:-1].encode())
    for offset in range(3):  # whatever stands before it, one of three alignments
        encoded = base64.b64encode(bytes(offset) + secret).rstrip(b"=")
        core = encoded[offset + 1 if offset else 0 : -1]
        forms |= {core, core.translate(bytes.maketrans(b"+/", b"-_")), quote(core, safe="").encode()}
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return forms
    return forms | {text.encode("utf-16-le"), text.encode("utf-16-be"), text.encode("ascii", "backslashreplace")}


@attrs.define
class Search:
    """Looks for every spelling of named secrets."""

    secrets: dict[str, bytes]
    forms: dict[bytes, str] = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.forms = {form: name for name, secret in self.secrets.items() for form in spellings(secret)}

    def hits(self, data):
        """The names of the secrets that some octets hold."""
        return sorted({name for form, name in self.forms.items() if form in data})

    def in_files(self, *roots, but=frozenset()):
        """(path, names) of every file below some directories that holds a secret, and how many were read."""
        found, count = {}, 0
        for path in (path for root in roots for path in sorted(root.rglob("*"))):
            if path.is_file() and path.name not in but:
                count += 1
                if names := self.hits(path.read_bytes()) + self.hits(os.fsencode(path.name)):
                    found[path] = names
        return found, count


# A life of the service ------------------------------------------------------------------------------------------


@attrs.define
class Watch:
    """Keeps command line and environment of every process that the service ever had."""

    server: object
    seen: dict = attrs.field(factory=dict)
    over: threading.Event = attrs.field(factory=threading.Event)
    thread: threading.Thread | None = None

    def __enter__(self):
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _look(self):
        while not self.over.wait(0.05):
            if self.server.process is not None:
                for pid in descendants(self.server.process.pid):
                    if pid not in self.seen or not self.seen[pid][1]:
                        self.seen[pid] = read_process(pid)


@attrs.define
class Haunted:
    """An installation after its life, with the secrets that went through it."""

    server: object
    search: Search
    csr: Search
    temporary: Path
    style: str
    words: dict
    watch: Watch

    @property
    def directory(self):
        return self.server.directory


def send(server, body, *, path="/scep/static"):
    """Send by POST; return status and body."""
    return ask(server, "POST", f"{path}?operation=PKIOperation", body)


def ask(server, method, target, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=20)
    connection.request(method, target, body)
    answer = connection.getresponse()
    outcome = answer.status, answer.read()
    connection.close()
    return outcome


@attrs.define
class Life:
    """Sends one request of every kind, each with a secret of its own."""

    server: object
    secrets: dict
    generator_port: int
    signatures: dict = attrs.field(factory=dict)

    def secret(self, name):
        """A challenge that percent-encoding changes."""
        self.secrets[name] = f"canary+/{name}/{secrets.token_hex(12)}="
        return self.secrets[name]

    def body(self, name, challenge, **fields):
        """A PKCSReq; the signature of its CSR is what must be in no log."""
        party = make.party("canary")
        csr = make.csr(
            challenge=challenge, subject=make.name(CN=name), private_key=party.key, challenge_tag=fields.pop("tag", 0x0C)
        )
        self.signatures[name] = csr[-64:]
        recipient = make.Party(None, certificate(self.server, "devices-ra-decrypt"))
        return make.pkcs_req(csr_der=csr, signer=party, recipient=recipient, transaction_id=secrets.token_hex(8), **fields)

    def status(self, body, **options):
        """The pkiStatus of the answer to a body."""
        code, answer = send(self.server, body, **options)
        assert code == 200, code
        return read_certrep(answer, trusted=[certificate(self.server, "devices-ra-sign")]).status

    def live(self):
        """Enrol and fail in every way that handles a challenge."""
        static = self.secrets["static"]
        assert self.status(self.body("static", static)) is PkiStatus.SUCCESS
        for name, options, expected in (
            ("used", ("--cn", "used"), PkiStatus.SUCCESS),
            ("bound", ("--cn", "somebody-else"), PkiStatus.FAILURE),
        ):
            self.secrets[name] = self.server.challenge(*options)
            assert self.status(self.body(name, self.secrets[name]), path="/scep") is expected
        self.secrets["unused"] = self.server.challenge()
        for name, tag in (("wrong", 0x0C), ("wrong-bmp", 0x1E), ("wrong-t61", 0x14)):
            assert self.status(self.body(name, self.secret(name), tag=tag)) is PkiStatus.FAILURE
        self.secrets["accents"] = f"canäry-{secrets.token_hex(12)}"
        assert self.status(self.body("accents", self.secrets["accents"])) is PkiStatus.FAILURE
        self.by_get()
        self.malformed()
        self.generator()

    def generator(self):
        """A token of the generator, the challenge that it gets, and secrets where they do not belong."""
        made = self.server.scepd("challenge", "token", "new", "mdm", "--profile", "default", "--json").stdout
        self.secrets["token"] = json.loads(made)["token"]
        status, answer = self.call("Bearer " + self.secrets["token"], b"")
        assert status == 200
        self.secrets["generated"] = json.loads(answer)["challenge"]
        assert self.call("Bearer " + self.secret("wrong-token"), b"")[0] == 401
        assert self.call("Bearer " + self.secrets["token"], self.secret("no-json").encode())[0] == 400

    def call(self, authorization, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.generator_port, timeout=20)
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/challenges/default", body, headers)
        answer = connection.getresponse()
        outcome = answer.status, answer.read()
        connection.close()
        return outcome

    def by_get(self):
        """A challenge inside a GET, well and badly formed, and as bare text in the query."""
        for name, challenge in (("by-get", self.secrets["static"]), ("by-get-wrong", self.secret("by-get-wrong"))):
            status, answer = ask(self.server, "GET", "/scep/static?" + build_get(self.body(name, challenge)))
            assert status == 200
            assert len(answer) > 1000, "a CertRep"
        clear = base64.b64encode(b"0\x80challengePassword=" + self.secret("get-malformed").encode())
        for message in (quote(clear, safe=""), quote(self.secret("get-text"), safe=""), "%25" + self.secret("get-percent")):
            status, answer = ask(self.server, "GET", f"/scep/static?operation=PKIOperation&message={message}")
            assert status == 400, answer
        assert ask(self.server, "GET", "/elsewhere?challenge=" + quote(self.secret("path-query")))[0] == 404
        assert ask(self.server, "GET", "/scep?operation=" + quote(self.secret("operation")))[0] == 400

    def malformed(self):
        """Challenges where they do not belong: in no message, in a bare CSR, in a CSR that is not enveloped."""
        assert send(self.server, b"challengePassword=" + self.secret("clear").encode())[0] == 400
        bare = make.csr(challenge=self.secret("bare"))
        self.signatures["bare"] = bare[-64:]
        assert send(self.server, bare)[0] == 400
        signed = make.csr(challenge=self.secret("signed"))
        self.signatures["signed"] = signed[-64:]
        assert self.status(make.message(signed)) is PkiStatus.FAILURE
        torn = bytearray(self.body("torn", self.secret("torn")))
        assert send(self.server, bytes(torn[:-100]))[0] == 400
        assert ask(self.server, "POST", "/scep/nowhere", self.secret("nowhere").encode())[0] == 404


def wrong_pin(server):
    """Start once with a PIN that the token refuses; return it."""
    keeper = server.pin
    right, wrong = keeper.read_text(), f"canary-pin-{secrets.token_hex(8)}"
    keeper.write_text(wrong)
    with server.log.open("ab") as log:
        ended = subprocess.run(
            [BIN / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", server.config],
            stdout=log, stderr=log, timeout=60, check=False, cwd=server.directory,
        )  # fmt: skip
    assert ended.returncode == 78  # no restart heals it
    keeper.write_text(right)
    return wrong


@pytest.fixture(scope="module", params=FORMATS)
def haunted(request, template, place):
    style = request.param
    server = copy_of(template, place / f"canary-{style}")
    temporary = server.directory / "tmp"
    temporary.mkdir()
    life = Life(server, {}, free_port())
    (server.directory / "static-challenge").write_text(life.secret("static"))
    for name in ("hsm-pin", "hsm-so-pin"):
        life.secrets[name] = (server.pin.parent / name).read_text().strip()
    server.edit(r"^workers = \d+", "workers = 2")
    with server.config.open("a") as config:
        config.write(f'\n[log]\nformat = "{style}"\nlevel = "debug"\n')
        config.write(f'\n[listener.generator]\naddress = "127.0.0.1:{life.generator_port}"\nserves = ["challenges"]\n')
        config.write("insecurely_plain_challenges = true\n")  # what is written to a wire is not what is searched
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        life.secrets["wrong-pin"] = wrong_pin(server)
        with Watch(server) as watch:
            server.start()
            try:
                life.live()
                os.kill(server.process.pid, signal.SIGUSR2)
                search = search_of(life)
                words = gather_words(server)
                while_it_runs = search.in_files(server.directory, but=KEEPERS)
                yield Haunted(server, search, Search(life.signatures), temporary, style, words, watch)
            finally:
                server.stop()
    assert while_it_runs[0] == {}
    server.check_store()


def search_of(life):
    known = {name: secret.encode() for name, secret in life.secrets.items()}
    known["store-key"] = (life.server.directory / "store-key").read_bytes()
    known["tls.key"] = base64.b64decode("".join((life.server.directory / "tls.key").read_text().splitlines()[1:-1]))[8:40]
    return Search(known)


def gather_words(server):
    """What the commands say, after the service had time to write what it keeps for a batch."""
    wait_for_words(lambda: "challenge_invalid" in server.scepd("request", "list", "--json").stdout)
    commands = [
        ("request", "list", "--json"), ("cert", "list", "--json"), ("challenge", "list", "--json"),
        ("status", "--json"), ("check",), ("challenge", "list"), ("request", "list"), ("challenge", "token", "list"),
    ]  # fmt: skip
    return {command: "".join(attrs_of(server.scepd(*command, check=False))) for command in commands}


def attrs_of(done):
    return done.stdout, done.stderr


# Tests ----------------------------------------------------------------------------------------------------------


def test_S33_S113_C153_no_canary_in_logs_store_or_files(haunted):
    search = haunted.search
    assert len(search.secrets) > 20
    found, count = search.in_files(haunted.directory, but=KEEPERS)
    assert found == {}
    assert count > 10
    searched = {path.name for path in haunted.directory.rglob("*") if path.is_file()}
    assert {"server.log", "scepd.sqlite", "scepd.sqlite-wal", "scepd.toml"} <= searched
    assert search.in_files(haunted.temporary)[0] == {}


def test_S33_S113_the_log_told_of_every_request_nonetheless(haunted):
    log = haunted.server.log.read_text()
    assert log.count("scep_request") == 22  # each request of `Life`
    for word in ("challenge_invalid", "malformed", "issued", "rejected", "wrong-bmp"):
        assert word in log, word


def test_S33_no_byte_of_a_csr_in_a_log_or_a_temporary_file(haunted):
    assert len(haunted.csr.secrets) > 10
    for path in (haunted.server.log, *haunted.temporary.rglob("*"), *(haunted.directory / "run").rglob("*")):
        if path.is_file():
            assert haunted.csr.hits(path.read_bytes()) == [], path


def test_S33_C153_the_keepers_hold_their_secrets_and_the_search_sees_them(haunted):
    """The same search over the same places, this time without leaving out the files that are there for a secret."""
    found, _ = haunted.search.in_files(haunted.directory)
    assert {path.name: names for path, names in found.items()} == {
        "hsm-pin": ["hsm-pin"], "hsm-so-pin": ["hsm-so-pin"], "store-key": ["store-key"],
        "static-challenge": ["static"], "tls.key": ["tls.key"],
    }  # fmt: skip
    for path in found:
        assert path.stat().st_mode & 0o077 == 0, path


def test_S33_S113_no_canary_in_what_the_commands_say(haunted):
    assert all(words for words in haunted.words.values())
    for command, words in haunted.words.items():
        assert haunted.search.hits(words.encode()) == [], command


def test_S33_S113_no_canary_in_command_lines_and_environments(haunted):
    watched = haunted.watch.seen
    kinds = " ".join(command.decode(errors="replace") for command, _ in watched.values())
    for kind in ("twistd", "migration", "selftest", "worker_process", "desk_process"):
        assert kind in kinds, kinds
    for pid, (command, environment) in watched.items():
        assert haunted.search.hits(command + environment) == [], pid


def test_S113_no_process_dumps_core_or_lets_equals_look_into_it(haunted):
    pids = descendants(haunted.server.process.pid)
    assert len(pids) >= 4  # supervisor, two workers, desk
    for pid in pids:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
        assert core == ["0", "0"], pid


@pytest.fixture(scope="module")
def equal(template, place):
    """A server whose user has no capability, as in its unit, and a way to look at processes as that same user."""
    server = copy_of(template, place / "equal")
    stripped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [*stripped, BIN / "twistd", "--nodaemon", "--pidfile=", "scepd", "--config", server.config],
            stdout=log, stderr=log, cwd=server.directory,
        )  # fmt: skip
    wait_for_words(lambda: server.scepd("status", check=False).returncode == 0, patience=30)
    yield server, stripped
    server.stop()


def test_S113_the_same_user_cannot_read_a_process_of_the_service(equal):
    server, stripped = equal

    def looks(pid):
        return run(*stripped, "cat", f"/proc/{pid}/environ", check=False)

    control = subprocess.Popen([*stripped, "sleep", "30"])
    try:
        time.sleep(0.2)
        assert looks(control.pid).returncode == 0, "an ordinary process of the same user can be read"
        pids = descendants(server.process.pid)
        assert len(pids) >= 3
        for pid in pids:
            assert "Permission denied" in looks(pid).stderr, read_process(pid)
    finally:
        control.kill()
        control.wait()


@pytest.mark.parametrize("name", ["pin", "blob"])
def test_S33_the_search_finds_a_planted_canary_in_every_form_and_place(tmp_path, name):
    planted = {"pin": b"1f2e3d4c+/5b6a?", "blob": bytes(range(200, 232))}
    search = Search(planted)
    assert search.hits(b"nothing of the kind" * 100) == []
    secret = planted[name]
    for number, form in enumerate(spellings(secret)):
        path = tmp_path / f"{number}.wal"
        path.write_bytes(os.urandom(333) + form + os.urandom(333))
        assert search.in_files(tmp_path)[0].get(path) == [name], form
    for before in (b"", b"a", b"ab", b"abc"):  # base64 of more than the secret, at every alignment
        assert name in search.hits(base64.b64encode(before + secret + b"zz")), before
        assert name in search.hits(base64.urlsafe_b64encode(before + secret + b"z")), before
        assert name in search.hits(quote(base64.b64encode(before + secret), safe="").encode()), before


def test_S113_the_search_finds_a_canary_in_a_command_line_and_an_environment():
    search = Search({"argument": b"planted-argument", "variable": b"planted-variable"})
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(30)", "planted-argument"],
        env={**os.environ, "PIN": "planted-variable"},
    )
    try:
        wait_for_words(lambda: b"planted-argument" in read_process(sleeper.pid)[0])
        command, environment = read_process(sleeper.pid)
        assert search.hits(command) == ["argument"]
        assert search.hits(environment) == ["variable"]
        assert sleeper.pid in descendants(os.getpid())
    finally:
        sleeper.kill()
        sleeper.wait()
