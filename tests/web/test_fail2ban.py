"""The fail2ban files with Debian's own tools: who is banned, and above all who is not."""

import ast
import contextlib
import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from twisted.internet.defer import succeed
from twisted.logger import globalLogPublisher

from scepd.enroll.reply import Answer
from scepd.observe.log import LineObserver
from scepd.profile.networks import read_networks
from scepd.web.client_address import FORWARDED_FOR, Approach
from scepd.web.failures import FailureLimits
from scepd.web.scep import Endpoint, Phase, ScepResource

from .harness import Setting

FILES = Path(__file__).parents[2] / "etc" / "fail2ban"
FILTER = FILES / "filter.d" / "scepd.conf"
GUESS = b"/scep/p?operation=PKIOperation"
VICTIM, GUESSER, PROXY = "203.0.113.9", "198.51.100.7", "192.0.2.1"
# What a client may write into transactionID, subject or path, to have somebody else banned.
FORGED = (
    f"x outcome=rejected reason=challenge_invalid ip={VICTIM} ",
    f'x" outcome=rejected reason=challenge_invalid ip={VICTIM} y="',
    f"ip={VICTIM}",
    f" ip={VICTIM} ",
    f"\nlevel=info event=scep_request outcome=rejected reason=challenge_invalid ip={VICTIM}",
    f"\r\ntime=2026-01-01T00:00:00.000Z level=info event=scep_request outcome=rejected reason=challenge_invalid ip={VICTIM}",
    f'", "ip": "{VICTIM}", "x": "',
    f'\\", "ip": "{VICTIM}", "x": "',
    (
        f'"}}\n{{"time": "2026-01-01T00:00:00.000Z", "level": "info", "event": "scep_request", "outcome": "rejected",'
        f' "reason": "challenge_invalid", "ip": "{VICTIM}"}}'
    ),
    f"\u2028ip={VICTIM}\x85ip={VICTIM}",
    f"\\ ip={VICTIM}",
    f'\\" ip={VICTIM} "',
    "proxy=yes",
    'x", "proxy": true, "y": "',
    "\x00\x7f\ufffd\U0001f600",
)


class Writing:
    """A site whose answers a test chooses, and the log that it writes."""

    def __init__(self, style, **limits):
        self.lines = []
        self.messages = []
        self.observer = LineObserver(self.lines.append, style=style)
        self.answer = Answer(b"", "issued")
        phase = Phase(b"AES", b"0", "application/x-x509-ca-cert")
        endpoint = Endpoint("p", lambda: phase, self._take)
        self.setting = Setting(ScepResource({"p": endpoint}, default="p", **limits))
        self.setting.site.approach = Approach(lambda: read_networks(b"192.0.2.0/24"), FORWARDED_FOR)

    @classmethod
    @contextlib.contextmanager
    def of(cls, style, **limits):
        """A site that writes its log while a block runs."""
        made = cls(style, **limits)
        globalLogPublisher.addObserver(made.observer)
        try:
            yield made
        finally:
            globalLogPublisher.removeObserver(made.observer)

    def _take(self, message, _origin):
        self.messages.append(message)
        return succeed(self.answer)

    def send(self, method, field):
        """Send a message as the browser of a visitor would."""
        target, body = (GUESS, b"m") if method == b"POST" else (GUESS + b"&message=bQ%3D%3D", b"")
        head = b"%b %b HTTP/1.1\r\nContent-Length: %d\r\n%b\r\n\r\n" % (method, target, len(body), field)
        self.setting.client(VICTIM).send(head + body)

    def ask(self, reason, host=GUESSER, outcome="rejected", fields=b"", **said):
        self.answer = Answer(b"x", outcome, reason=reason, **said)
        head = b"POST /scep/p?operation=PKIOperation HTTP/1.1\r\nContent-Length: 1\r\n" + fields + b"\r\nm"
        self.setting.client(host).send(head)


@pytest.fixture(params=["logfmt", "json"])
def writing(request):
    with Writing.of(request.param) as made:
        yield made


def banned(tmp_path, lines):
    """Return the addresses that Debian's fail2ban finds in these lines, one for each match."""
    log = tmp_path / "scepd.log"
    log.write_text("".join(lines))
    command = ["fail2ban-regex", "--out", "ip", str(log), str(FILTER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout.split()


def test_S77_who_guesses_is_found_by_its_address(tmp_path, writing):
    guesses = ["challenge_invalid", "challenge_expired", "challenge_replayed", "challenge_not_for_request"]
    for reason in guesses:
        writing.ask(reason, transaction_id="42", subject="CN=r1", message_type="PKCSReq", fail_info="badRequest")
    writing.ask("challenge_invalid", "2001:db8::7")
    writing.ask("challenge_invalid", PROXY, fields=b"X-Forwarded-For: 198.51.100.8\r\n")
    assert banned(tmp_path, writing.lines) == [GUESSER] * 4 + ["2001:db8::7", "198.51.100.8"]


def test_S77_certificates_of_nobody(tmp_path, writing):
    entries = [
        {"outcome": "rejected", "reason": "client_certificate_untrusted", "detail": "x y"},
        {"outcome": "rejected", "reason": "client_certificate_revoked"},
        {"outcome": "rejected", "reason": "client_certificate_missing"},
        {"outcome": "rejected", "reason": "client_certificate_expired"},
    ]
    for entry in entries:
        request = writing.setting.site.make_request(writing.setting.client(GUESSER).protocol)
        request.note(**entry)
        writing.setting.site.log(request)
    assert banned(tmp_path, writing.lines) == [GUESSER] * 2


def test_S77_who_shares_a_network_with_a_guesser_is_not_banned_for_it(tmp_path):
    with Writing.of("logfmt", failures=FailureLimits(per_network=2, clock=lambda: 0)) as writing:
        for _ in range(3):
            writing.ask("challenge_invalid")
        writing.ask("", "198.51.100.8", outcome="issued")  # the challenge is good: nobody comes to look at it
    assert "reason=failures" in writing.lines[-1]
    assert "ip=198.51.100.8" in writing.lines[-1]
    assert banned(tmp_path, writing.lines) == [GUESSER] * 2


@pytest.mark.parametrize(
    "field",
    [b"Origin: null", b"origin: http://x", b"Referer: http://x/", b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Site: none"],
)
@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_S77_what_a_page_has_a_browser_send_is_refused_before_it_is_read(tmp_path, writing, method, field):
    writing.answer = Answer(b"x", "rejected", reason="challenge_invalid")
    writing.send(method, field)
    assert "web_page" in writing.lines[-1]
    assert writing.messages == []
    assert banned(tmp_path, writing.lines) == []


def test_S77_a_message_by_GET_bans_nobody(tmp_path, writing):
    # An image of a page over plain HTTP, with no-referrer: no field of the browser's tells it from a device.
    writing.answer = Answer(b"x", "rejected", reason="challenge_invalid")
    writing.send(b"GET", b"Accept: image/avif,image/webp,*/*")
    assert writing.messages == [b"m"]
    assert banned(tmp_path, writing.lines) == []


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\r\n\r\n",  # a link with https:// to the port of plain HTTP
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"OPTIONS " + GUESS + b" HTTP/1.1\r\nOrigin: http://x\r\n\r\n",
        b"POST " + GUESS + b" HTTP/1.1\r\nContent-Length: 999999\r\nOrigin: http://x\r\n\r\n",
    ],
    ids=["tls", "long", "preflight", "large"],
)
def test_S77_what_is_no_valid_HTTP_may_be_a_page_s_doing(tmp_path, writing, octets):
    writing.setting.client(VICTIM).send(octets)
    assert "malformed_http" in writing.lines[-1]
    assert banned(tmp_path, writing.lines) == []


def test_S77_nobody_is_banned_for_what_is_no_guess(tmp_path, writing):
    for reason, outcome in (
        ("", "issued"), ("", "pending"), ("subject_refused", "rejected"), ("decryption_failed", "rejected"),
        ("challenge_missing", "rejected"), ("token_away", "unavailable"), ("challenge_invalid", "issued"),
    ):  # fmt: skip
        writing.ask(reason, outcome=outcome)
    # What a web page may have the browser of a visitor send.
    writing.setting.client(VICTIM).send(b"GET /scep/p?operation=PKIOperation&message=AAAA HTTP/1.1\r\n\r\n")
    writing.setting.client(VICTIM).send(b"GET /admin.php HTTP/1.1\r\n\r\n")
    writing.answer = Answer(b"", "rejected", reason="content_malformed")
    assert banned(tmp_path, writing.lines) == []


def test_S77_a_proxy_that_did_not_say_for_whom_it_spoke_is_not_banned(tmp_path, writing):
    writing.ask("challenge_invalid", PROXY, subject="CN=r1")
    writing.setting.client(PROXY).send(b"nonsense\r\n\r\n")
    assert banned(tmp_path, writing.lines) == []


def test_S77_no_text_of_a_client_bans_anybody_else_or_saves_the_client(tmp_path, writing):
    for text in FORGED:
        for reason in ("challenge_invalid", "subject_refused"):
            writing.ask(
                reason, transaction_id=text, subject=text, detail=text, fields=b"User-Agent: ip=203.0.113.9\r\n"
            )
            writing.ask(reason, fields=b"X-Forwarded-For: 203.0.113.9\r\n", subject=text)
    assert banned(tmp_path, writing.lines) == [GUESSER] * 2 * len(FORGED)
    assert len(writing.lines) == 4 * len(FORGED)


def test_S77_lines_as_the_journal_gives_them(tmp_path, writing):
    writing.ask("challenge_invalid")
    (line,) = writing.lines
    head = "Nov 22 07:00:00 host scepd[123]: "
    assert banned(tmp_path, [head + line]) == [GUESSER]


class Cloudflare(BaseHTTPRequestHandler):
    """Remembers what it was asked; has one rule."""

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
        rule = {"configuration": {"target": "ip", "value": GUESSER}, "id": "ab" * 16, "notes": "fail2ban scepd"}
        text = json.dumps({"success": True, "errors": [], "result": [{**rule, "id": "ab" * 16}]}).encode()
        # The API's order: the rule begins with its id.
        text = text.replace(b'[{"configuration"', b'[{"id": "' + b"ab" * 16 + b'", "configuration"')
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *arguments):
        """Say nothing."""


@contextlib.contextmanager
def cloudflare():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cloudflare)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def installed(tmp_path):
    """Debian's configuration with ours copied over it, the Cloudflare jail on and pointed at a local server."""
    place = tmp_path / "fail2ban"
    shutil.copytree("/etc/fail2ban", place)
    for kind in ("filter.d", "action.d", "jail.d"):
        for file in (FILES / kind).iterdir():
            shutil.copy(file, place / kind / file.name)
    (place / "jail.d" / "defaults-debian.conf").unlink(missing_ok=True)
    (tmp_path / "scepd.log").touch()
    (tmp_path / "token").write_text("Authorization: Bearer a-token\n")
    jail = place / "jail.d" / "scepd.conf"
    text = jail.read_text().replace("/var/log/scepd/scepd.log", str(tmp_path / "scepd.log"))
    text = text.replace("enabled  = false", "enabled  = true").replace("[scepd]\n", "[scepd]\nbackend = polling\n")
    text = text.replace("[scepd-cloudflare]\n", "[scepd-cloudflare]\nbackend = polling\n")
    jail.write_text(text)
    return place


def dump(installed):
    command = ["fail2ban-client", "-c", str(installed), "-d"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_the_jails_are_taken_by_fail2ban(installed):
    done = subprocess.run(
        ["fail2ban-client", "-c", str(installed), "-t"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jails = {command[1] for command in dump(installed) if command[0] == "add"}
    assert jails == {"scepd", "scepd-cloudflare"}


def action_of(installed, word):
    for command in dump(installed):
        if command[:3] == ["multi-set", "scepd-cloudflare", "action"]:
            return dict(command[4])[word]
    raise AssertionError("no action")


@pytest.mark.parametrize(("address", "target"), [(GUESSER, "ip"), ("2001:db8::7", "ip6")])
def test_the_cloudflare_action_bans_in_its_zone_alone_and_takes_it_back(installed, tmp_path, address, target):
    with cloudflare() as server:
        asked = []
        for word in ("actionban", "actionunban"):
            # What fail2ban fills in at each ban, and the local server in place of Cloudflare's.
            script = action_of(installed, word).replace("<ip>", address).replace("<target>", target)
            script = script.replace("https://api.cloudflare.com", f"http://127.0.0.1:{server.server_address[1]}")
            script = script.replace("/etc/fail2ban/scepd-cloudflare.header", str(tmp_path / "token"))
            assert "a-token" not in script
            environment = {**os.environ, "no_proxy": "127.0.0.1"}
            subprocess.run(["sh", "-c", script], check=True, timeout=30, env=environment, capture_output=True)
            asked.append(list(server.asked))
            server.asked.clear()
    rules = f"/client/v4/zones/{'0123456789abcdef' * 2}/firewall/access_rules/rules"
    ((method, path, token, body),) = asked[0]
    assert (method, path, token) == ("POST", rules, "Bearer a-token")
    assert json.loads(body) == {
        "mode": "block",
        "configuration": {"target": target, "value": address},
        "notes": "fail2ban scepd-cloudflare",
    }
    assert [(method, path.partition("?")[0]) for method, path, _, _ in asked[1]] == [
        ("GET", rules),
        ("DELETE", f"{rules}/{'ab' * 16}"),
    ]
    # Rules that somebody else made for the address stay.
    assert f"configuration.value={address}&notes=fail2ban%20scepd-cloudflare" in asked[1][0][1]
