"""The whole way of a request in one process: configuration, routes, HTTP, pipeline, store, reply."""

import attrs
from twisted.internet.defer import maybeDeferred

from scepd.app.endpoints import make_endpoints
from scepd.app.successions import successions_of
from scepd.ca.local import Locations
from scepd.config.load import load
from scepd.enroll.raw import respond_raw
from scepd.enroll.respond import respond
from scepd.message.algorithms import Cipher, CryptoPolicy, Digest
from scepd.message.certrep import read_certrep, read_certs_only
from scepd.message.enveloped import decrypt, parse_envelope
from scepd.message.request import parse_message
from scepd.web.scep import ScepResource
from tests import make
from tests.config import pki
from tests.web.harness import Setting, read_replies
from tests.world import NOW, STATIC, make_world

ANYTHING = CryptoPolicy(digests=frozenset(Digest), ciphers=frozenset(Cipher), minimum_signer_rsa=1024)


CRL_URL = "http://pki.example.net/crl/devices.crl"


def settings_of(keys, directory, profiles):
    """Compile a configuration whose issuer has these keys; `profiles` are tables by name."""
    files = {
        **pki.good(),
        "devices-ca.pem": _pem(keys.ca_der),
        "devices-ra-sign.pem": _pem(keys.sign_der),
        "devices-ra-decrypt.pem": _pem(keys.decrypt_der),
        "tls.pem": pki.pem(pki.certificate("ec-tls", name="pki", dns=("pki.example.net",), begin=NOW - pki.DAY)),
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o644)
    for name, content in {**pki.secrets(), "static": STATIC.encode() + b"\n"}.items():
        pki.write_secret(directory / name, content)
    tables = pki.base()
    tables["issuer"]["devices"]["crl_urls"] = [CRL_URL]
    challenge = [{"method": "one-time"}, {"method": "static", "secret": {"file": "static"}}]
    tables["profile"] = {
        name: {"issuer": "devices", "challenge": challenge, "default": number == 0, **table}
        for number, (name, table) in enumerate(profiles.items())
    }
    return load(pki.write_configuration(directory, tables), environ={}, now=NOW, cores=1)


def _pem(der):
    from cryptography import x509

    return pki.pem(x509.load_der_x509_certificate(der))


@attrs.frozen
class Directly:
    """Stands where the lanes stand: what they do, at once and in this thread."""

    world: object

    def run(self, function, standing=None):
        return maybeDeferred(function, self.world.context)

    async def answer(self, profile, body, origin):
        return respond(self.world.context, profile, body, origin).answer

    async def answer_raw(self, profile, body, origin):
        return respond_raw(self.world.context, profile, body, origin).answer


class Server:
    """A site with one profile or several, and a client's view of it."""

    def __init__(self, keys, directory, profiles, *, settings=lambda settings: settings, others=None):
        self.keys = keys
        self.settings = settings(settings_of(keys, directory, profiles))
        self.world = make_world(
            keys,
            directory,
            profiles=list(self.settings.profiles),
            others=others,
            successions=successions_of(self.settings.issuers),
        )
        context = self.world.context
        context.issuers = {name: self._at_its_places(held) for name, held in context.issuers.items()}
        directly = Directly(self.world)
        self.endpoints = make_endpoints(self.settings, directly, directly, self.world.clock)
        default = self.settings.default_profile.segment
        self.setting = Setting(ScepResource(self.endpoints, default=default))
        self.ra = make.Party(keys.decrypt, keys.decrypt_der)
        self.path = f"/scep/{default}".encode()

    def _at_its_places(self, issuer):
        """The issuer with the URLs that its settings say."""
        said = self.settings.issuer[issuer.name]
        return attrs.evolve(issuer, locations=Locations(said.crl_urls, said.ocsp_urls, said.issuer_urls))

    def ask(self, request):
        """Send the octets of one HTTP request and return the reply."""
        client = self.setting.client()
        client.send(request)
        (reply,) = read_replies(client.received, head=request.startswith(b"HEAD"))
        return reply

    def get(self, query, *, path=None, head=b"Host: pki.example.net\r\n", version=b"1.1"):
        return self.ask(b"GET %s?%s HTTP/%s\r\n%s\r\n" % (path or self.path, query, version, head))

    def post(self, body, *, path=None, head=b"Host: pki.example.net\r\n", query=b"operation=PKIOperation"):
        length = b"Content-Length: %d\r\n" % len(body)
        return self.ask(b"POST %s?%s HTTP/1.1\r\n%s%s\r\n%s" % (path or self.path, query, head, length, body))

    def read(self, body):
        """The CertRep of a reply, verified under the RA's certificate."""
        return read_certrep(body, trusted=self.keys.certificates, policy=ANYTHING)

    def check_success(self, body, message, party):
        """Return the leaf; the reply mirrors digest, cipher, transport, transactionID and nonce of the request."""
        reply = self.read(body)
        assert reply.status == 0, reply
        asked, said = parse_message(message), parse_message(body)
        sent, received = (parse_envelope(content, ANYTHING) for content in (asked.content, reply.content))
        assert (said.digest, said.transaction_id) == (asked.digest, asked.transaction_id)
        assert said.recipient_nonce == (asked.sender_nonce or None)
        assert said.sender_nonce not in {asked.sender_nonce, b""}
        assert (received.cipher, len(received.recipients)) == (sent.cipher, 1)
        assert received.recipients[0].transport == sent.recipients[0].transport
        return self.leaf(body, party)

    def leaf(self, body, party):
        """The certificate that a SUCCESS brings to that party."""
        reply = self.read(body)
        assert reply.status == 0, reply
        leaf, *_ = read_certs_only(decrypt(reply.content, party.certificate_der, party.key, ANYTHING))
        return leaf

    def check_refusal(self, body):
        """Return failInfo and text of a refusal; nothing was issued."""
        reply = self.read(body)
        assert reply.status == 2, reply
        assert self.world.issued() == []
        return reply.fail_info.name, reply.fail_info_text


__all__ = ["ANYTHING", "Server", "settings_of"]
