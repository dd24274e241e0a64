"""Entra, Graph and Intune's validation service in one HTTPS server, as Microsoft documents and its library uses them."""

import base64
import hashlib
import json
from urllib.parse import parse_qs, urlsplit

import attrs
import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID

from tests.emulators.https import HttpsServer, Reply

TENANT = "contoso.onmicrosoft.com"
CLIENT = "5f3b6a1e-0c5b-4c7e-8f45-3f0f6f2b9d11"
SECRET = "canary~client~secret"
SCOPE = "https://api.manage.microsoft.com/.default"
INTUNE = "0000000a-0000-0000-c000-000000000000"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def _json(value, status=200, **headers):
    return Reply(status=status, body=json.dumps(value).encode(), headers=headers)


@attrs.define
class Lies:
    """Replies that a test puts in place of the true ones, by what was asked: "token", "endpoints", "validateRequest", ..."""

    replies: dict = attrs.field(factory=dict)
    once: dict = attrs.field(factory=dict)


class IntuneEmulator(HttpsServer):
    """One tenant with one application; `code` is what it answers about requests.

    With `known`, the challenges that it made, it validates no request with another.
    """

    def __init__(self, *, certificate_pem=None, **options):
        self.code = "Success"
        self.known = None
        self.lies = Lies()
        self.certificate = x509.load_pem_x509_certificate(certificate_pem) if certificate_pem else None
        self.tokens = {}  # text -> scope
        self.validated, self.successes, self.failures = [], [], []
        self.assertions = set()
        super().__init__(self._route, **options)

    def asked(self, word):
        return [received for received in self.received if word in received.path]

    def revoke_tokens(self):
        self.tokens.clear()

    def _route(self, received):
        path = urlsplit(received.path).path
        word = path.rpartition("/")[2]
        lie = self.lies.once.pop(word, None) or self.lies.replies.get(word)
        if lie is not None:
            return lie
        if path == f"/{TENANT}/oauth2/v2.0/token":
            return self._token(received)
        if path == f"/v1.0/servicePrincipals/appId={INTUNE}/endpoints":
            return self._authorized(received, self.url("/.default", host="localhost")) or self._endpoints()
        if path.startswith("/FE/ScepActions/"):
            return self._authorized(received, SCOPE) or self._act(word, received)
        return _json({"error": "not found"}, 404)

    def _token(self, received):
        form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        if form.get("grant_type") != "client_credentials" or form.get("client_id") != CLIENT:
            return _json({"error": "invalid_request", "error_codes": [900144]}, 400)
        if not self._is_proved(form):
            return _json({"error": "invalid_client", "error_codes": [7000215], "error_description": "canary-text"}, 401)
        text = f"token-{len(self.tokens)}-{len(self.received)}"
        self.tokens[text] = form["scope"]
        return _json({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": text})

    def _is_proved(self, form):
        if self.certificate is None:
            return form.get("client_secret") == SECRET
        if form.get("client_assertion_type") != ASSERTION or "client_secret" in form:
            return False
        header = jwt.get_unverified_header(form["client_assertion"])
        digest = hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()
        claims = jwt.decode(
            form["client_assertion"],
            self.certificate.public_key(),
            algorithms=["PS256"],
            audience=self.url(f"/{TENANT}/oauth2/v2.0/token"),
            options={
                "require": ["exp", "nbf", "iss", "sub", "jti"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        fresh = claims["jti"] not in self.assertions
        self.assertions.add(claims["jti"])
        thumbprint = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return fresh and header["x5t#S256"] == thumbprint and claims["iss"] == claims["sub"] == CLIENT

    def _authorized(self, received, scope):
        word, _, text = received.headers.get("authorization", "").partition(" ")
        if word == "Bearer" and self.tokens.get(text) == scope:
            return None
        return _json({"error": {"code": "InvalidAuthenticationToken"}}, 401)

    def _endpoints(self):
        others = [{"providerName": "IWService", "uri": "https://localhost:1/other", "capability": "x"}]
        mine = {"providerName": "ScepRequestValidationFEService", "uri": self.url("/FE"), "capability": "y"}
        return _json({"@odata.context": "x", "value": [*others, mine]})

    def _act(self, word, received):
        asked = json.loads(received.body)
        if received.headers.get("api-version") != "2018-02-20" or "client-request-id" not in received.headers:
            return _json({"message": "no version"}, 400)
        kept = {
            "validateRequest": (self.validated, "request"),
            "successNotification": (self.successes, "notification"),
            "failureNotification": (self.failures, "notification"),
        }
        rows, member = kept[word]
        rows.append(asked[member])
        if word == "validateRequest" and self.known is not None and _challenge(asked[member]) not in self.known:
            return _json({"code": "ChallengeDecryptionError", "errorDescription": "canary-description"})
        return _json({"code": self.code, "errorDescription": "" if self.code == "Success" else "canary-description"})


def _challenge(asked):
    csr = x509.load_der_x509_csr(base64.b64decode(asked["certificateRequest"]))
    return csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode()
