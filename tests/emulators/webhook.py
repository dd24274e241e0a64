"""A webhook receiver as an operator would write it: it verifies each signature, its age, and that it is new."""

import hashlib
import hmac
import json

from tests.emulators.https import HttpsServer, Reply

SECRET = "0123456789abcdef0123456789abcdef"
OLDEST = 300  # seconds


class WebhookReceiver(HttpsServer):
    """Answers with `verdict`, an object, or with `reply` where a test wants something else.

    With `known`, the challenges that are good by the path at which they are asked about, it denies all others.
    """

    def __init__(self, clock, **options):
        self.clock = clock
        self.known = None
        self.verdict = {"decision": "allow"}
        self.reply = None
        self.seen = set()
        super().__init__(self._judge, **options)

    @property
    def asked(self):
        return [json.loads(received.body) for received in self.received]

    def _judge(self, received):
        if not self.accepts(received):
            return Reply(status=401, body=b'{"decision": "deny"}')
        if self.known is not None and json.loads(received.body)["challenge"] not in self.known.get(received.path, ()):
            return Reply(body=b'{"decision": "deny"}')
        return self.reply or Reply(body=json.dumps(self.verdict).encode())

    def accepts(self, received):
        """Return whether a request is ours, fresh and new; remember it."""
        parts = dict(part.split("=", 1) for part in received.headers["scepd-signature"].split(","))
        signed = parts["t"].encode() + b"." + received.body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, parts["v1"]):
            return False
        if abs(self.clock.now().timestamp() - int(parts["t"])) > OLDEST:
            return False
        nonce = json.loads(received.body)["nonce"]
        fresh = nonce not in self.seen
        self.seen.add(nonce)
        return fresh
