"""Who is banned by the log of a real server: whoever guessed, and nobody whom somebody else chose (threats S-77)."""

import base64
import re
import secrets
import ssl
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from scepd.message import tlv
from scepd.message.names import TRANSACTION_ID
from tests import make
from tests.live.device import certificate
from tests.live.http_wire import Wire, request
from tests.live.server import STATIC, copy_of
from tests.ports import free_port
from tests.web.test_fail2ban import FORGED, VICTIM, banned
from tests.x509.factory import root

pytestmark = pytest.mark.live

TARGET = "/scep/bans?operation=PKIOperation"
VISITOR = "127.0.0.5"  # of a web page, without a proxy
TODAY = datetime.now(UTC)
DATES = {"begin": TODAY - timedelta(days=1), "end": TODAY + timedelta(days=30)}
CONFIG = """
[log]
format = "{style}"

[listener.behind]
address = "127.0.0.1:{behind}"
trusted_proxies = "networks.txt"
client_address_header = "X-Forwarded-For"

[listener.proxied]
address = "127.0.0.1:{proxied}"
trusted_proxies = "networks.txt"
proxy_protocol = true

[listener.mtls]
address = "127.0.0.1:{mtls}"
tls = {{ certificate = "tls.pem", key = {{ file = "tls.key" }} }}
client_certificates = "optional"

[profile.bans]
issuer = "devices"
challenge = [{{ method = "static", secret = {{ file = "static-challenge" }} }}]
subject = {{ allow = ["CN"], patterns = {{ CN = 'd-[0-9]+' }} }}

[profile.line]
issuer = "devices"
client_certificate = {{ trust = "factory.pem", subject = "any" }}
challenge = [{{ method = "client-certificate" }}]
"""
# Octets of a request line or a header field, as no client library would send them.
RAW = [text.encode("utf-8", "surrogatepass") for text in FORGED]


class Site:
    """A server with every kind of listener, and addresses for those who ask."""

    def __init__(self, server, style):
        self.server = server
        self.ports = {name: free_port() for name in ("behind", "proxied", "mtls")}
        self.sign, self.decrypt = (certificate(server, f"devices-ra-{role}") for role in ("sign", "decrypt"))
        self.guilty, self.innocent = set(), set()
        self.asked = 0
        (server.directory / "networks.txt").write_text("127.0.0.1\n")
        (server.directory / "factory.pem").write_bytes(root("Factory", **DATES).pem)
        with server.config.open("a") as config:
            config.write(CONFIG.format(style=style, **self.ports))

    def somebody(self, *, guilty):
        """Return an address that nobody has used; whether it is to be banned is kept."""
        number = len(self.guilty) + len(self.innocent)
        address = f"198.51.{100 + number // 200}.{number % 200 + 1}"
        (self.guilty if guilty else self.innocent).add(address)
        return address

    def message(self, *, challenge=STATIC, subject="d-1", transaction_id=None):
        name, key = make.name(CN=subject), make.party("bans").key
        csr_der = make.csr(challenge=challenge, subject=name, private_key=key, challenge_tag=tlv.UTF8_STRING)
        body = make.pkcs_req(
            csr_der=csr_der, signer=make.party("bans"),
            recipient=make.Party(None, self.decrypt), transaction_id=secrets.token_hex(12), signing_time=datetime.now(UTC),
        )  # fmt: skip
        if transaction_id is None:
            return body
        bent = make.take_apart(body).with_attribute(TRANSACTION_ID, tlv.utf8(transaction_id))
        return bent.resign(key).der()

    def send(self, port, octets, **options):
        """Send octets; the answer, or a connection closed without one, is in the log."""
        self.asked += 1
        try:
            with Wire(port, **options) as wire:
                return wire.send(octets).reply()
        except (ConnectionError, ssl.SSLError):
            return None

    def ask(self, octets_of, *, guilty):
        """Send as somebody behind the proxy."""
        return self.send(self.ports["behind"], octets_of(f"X-Forwarded-For: {self.somebody(guilty=guilty)}"))

    def log(self):
        """The log when everything that was asked is in it."""
        deadline = time.monotonic() + 20
        while (lines := self.server.log.read_text()).count("scep_request") < self.asked:
            assert time.monotonic() < deadline, lines[-3000:]
            time.sleep(0.1)
        return lines.splitlines(keepends=True)


@pytest.fixture(params=["logfmt", "json"])
def site(template, place, request):
    server = copy_of(template, place / f"bans-{request.param}")
    site = Site(server, request.param)
    server.start()
    yield site
    server.stop()


def post(body, *fields, target=TARGET):
    return lambda forwarded: request("POST", target, body, forwarded, *fields)


def test_S77_nobody_is_banned_whom_somebody_else_chose(site, tmp_path):
    for octets, text in zip(RAW, FORGED, strict=True):
        _write_into_messages(site, text)
        _write_into_http(site, octets, text)
    _claim_addresses(site)
    _come_with_certificates(site)
    _lead_a_browser_here(site)
    found = banned(tmp_path, site.log())
    assert not [address for address in found if address.startswith("203.0.113.")], "somebody else was banned"
    assert set(found) & site.innocent == set()
    assert site.guilty - set(found) == set(), "a guesser wrote itself out of the log"
    assert set(found) - site.guilty <= {"127.0.0.2", "127.0.0.3", "127.0.0.4"}  # on their own account, see below
    assert "127.0.0.1" not in found  # the proxy


def _write_into_messages(site, text):
    """Texts in common name, transactionID and challenge, in guesses and in requests that fail otherwise."""
    site.ask(post(site.message(challenge="a guess, nothing more", subject=text)), guilty=True)
    site.ask(post(site.message(subject=text)), guilty=False)
    site.ask(post(site.message(challenge=text)), guilty=True)
    printable = re.sub(r"[^A-Za-z0-9 '()+,./:=?-]", "?", text)
    site.ask(post(site.message(challenge="a guess, nothing more", transaction_id=printable)), guilty=True)
    site.ask(post(site.message(subject="nobody", transaction_id=printable)), guilty=False)
    site.ask(post(site.message(subject="nobody", transaction_id=text)), guilty=False)  # no PrintableString


def _write_into_http(site, octets, text):
    """Texts in path, query and header fields; what is no HTTP is on its sender's own account."""
    guess, escaped = site.message(challenge="a guess, nothing more"), quote(text)
    for field in ("User-Agent", "Referer", "Host", "X-Real-IP", "CF-Connecting-IP", "Forwarded", "Via", "X-Request-ID"):
        value = f"{field}: ".encode() + octets.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
        head = request("POST", TARGET, guess, "X: y", host="127.0.0.1").replace(b"X: y", value, 1)
        site.send(site.server.http, head, source="127.0.0.2")
    for target in (f"/scep/{escaped}?operation=GetCACaps", f"/scep/bans?operation={escaped}", f"/scep/bans?{escaped}"):
        site.ask(lambda forwarded, target=target: request("GET", target, None, forwarded), guilty=False)
    for raw in (b"GET /" + octets + b" HTTP/1.1\r\n\r\n", octets + b"\r\n\r\n", b"POST " + octets + b"\r\n\r\n"):
        site.send(site.server.http, raw, source="127.0.0.3")


def _claim_addresses(site):
    """A header that only a proxy may write, from others; what stands to the left of the proxy's own; no address at all."""
    guess = site.message(challenge="a guess, nothing more")
    for field in (f"X-Forwarded-For: {VICTIM}", f"CF-Connecting-IP: {VICTIM}", f"Forwarded: for={VICTIM}"):
        site.send(site.server.http, request("POST", TARGET, guess, field), source="127.0.0.2")
        site.send(site.ports["behind"], request("POST", TARGET, guess, field), source="127.0.0.2")
    own = site.somebody(guilty=True)
    site.send(site.ports["behind"], request("POST", TARGET, guess, f"X-Forwarded-For: {VICTIM}, {own}"))
    for nobody in ("unknown", f"{VICTIM}x", f'"{VICTIM}"', f"x ip={VICTIM}", ""):
        site.send(site.ports["behind"], request("POST", TARGET, guess, f"X-Forwarded-For: {nobody}"))
    site.send(site.ports["behind"], request("POST", TARGET, guess))
    proxied = site.somebody(guilty=True)
    site.send(
        site.ports["proxied"], f"PROXY TCP4 {proxied} 127.0.0.1 1 2\r\n".encode() + request("POST", TARGET, guess)
    )
    header = f"PROXY TCP4 {VICTIM} 127.0.0.1 1 2\r\n".encode() + request("POST", TARGET, guess)
    site.send(site.ports["proxied"], header, source="127.0.0.4")  # no proxy of ours: closed
    site.asked -= 1  # and no request
    site.send(site.server.http, header, source="127.0.0.3")


def _come_with_certificates(site):
    """Certificates of strangers, with texts for names."""
    for text in FORGED:
        octets = request("POST", "/scep-mtls/line?operation=PKIOperation", site.message())
        site.send(site.ports["mtls"], octets, tls=_stranger(site, text), source="127.0.0.4")


def _stranger(site, text):
    """TLS with a certificate of a CA that nobody knows."""
    holder = root("Stranger", **DATES).issue(text.replace("\0", "")[:60], **DATES)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    file = site.server.directory / "holder"
    file.write_bytes(holder.pem + holder.key_pem)
    made.load_cert_chain(file)
    return made


def _lead_a_browser_here(site):
    """What a web page can have its visitors send: links, images and forms, to a server that they never heard of."""
    visitor = site.somebody(guilty=False)
    forwarded = f"X-Forwarded-For: {visitor}"
    guess = site.message(challenge="a guess of the page's author")
    image = f"{TARGET}&message={quote(base64.b64encode(guess), safe='')}"
    plain = ("Content-Type: text/plain", "Origin: null")
    fetched = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")
    for octets in (
        request("GET", image, None, forwarded, *fetched),
        request("GET", image, None, forwarded, "Referer: http://x/"),
        request("GET", image, None, forwarded, "Accept: image/avif,*/*"),  # over plain HTTP, with no-referrer
        request("POST", TARGET, guess, forwarded, *plain),
        request("GET", f"{TARGET}&message=AAAA", None, forwarded),
        request("GET", f"{TARGET}&message={quote('<x>')}", None, forwarded),
        request("POST", TARGET, b"operation=PKIOperation&message=AAAA", forwarded, "Origin: http://x"),
        request("POST", TARGET, b"\x30\x80", forwarded, *plain),
        request("GET", "/admin.php?x=../..", None, forwarded),
        request("GET", "/scep-mtls/line?operation=GetCACaps", None, forwarded),
    ):
        site.send(site.ports["behind"], octets)
    for octets in (
        request("OPTIONS", TARGET, None, "Origin: http://x"),
        request("GET", f"{TARGET}&message={'A' * 40_000}", None),
        request("POST", TARGET, b"A" * 300_000, *plain),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # https:// and the port of plain HTTP
    ):
        site.send(site.server.http, octets, source=VISITOR)
    for target in ("/scep-mtls/line", "/scep-mtls/line?operation=PKIOperation&message=AAAA"):
        for fields in ((), ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")):
            site.send(
                site.ports["mtls"], request("GET", target, None, *fields), tls=_stranger(site, "x"), source=VISITOR
            )
    octets = request("POST", "/scep-mtls/line?operation=PKIOperation", guess, *plain)
    site.send(site.ports["mtls"], octets, tls=_stranger(site, "x"), source=VISITOR)
