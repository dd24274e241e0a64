"""The messages of one SCEP transaction as the client sends and believes them (RFC 8894 section 3)."""

from collections.abc import Callable
from datetime import datetime

import attrs

from scepd.cli.client_choice import Choice
from scepd.cli.client_http import Response, Server
from scepd.cli.client_keys import Signer, check_digest
from scepd.cli.client_trust import Authority
from scepd.message import tlv
from scepd.message.certrep import CertRep, read_certrep
from scepd.message.enveloped import decrypt, encrypt, encrypt_for_password
from scepd.message.errors import MessageError
from scepd.message.names import MessageType, PkiStatus
from scepd.message.signed import build_message
from scepd.records import Secret
from scepd.refusal import FailInfo, OperatorError, Reject

_NONCE = 16  # octets (RFC 8894 section 3.2.1.5)

_FAIL_HINTS = {
    FailInfo.badAlg: "other algorithms: --digest, --cipher, --transport, --signature",
    FailInfo.badMessageCheck: "the CA's certificates may have changed: scepd client getca",
    FailInfo.badRequest: "the server's reason: scepd request list; a fresh challenge: scepd challenge new PROFILE",
    FailInfo.badTime: "the clock of this machine",
    FailInfo.badCertId: "the server knows no such request or certificate: is it the right URL and key?",
}


class Refused(OperatorError):  # noqa: N818 - the house's word for a protocol refusal
    """The server answered FAILURE: the transaction is over."""


class StillPending(OperatorError):  # noqa: N818 - a state, not an error
    """The server answered PENDING: a person has not decided yet."""


@attrs.frozen(kw_only=True)
class Exchange:
    """The messages of one transaction: same signer, same transactionID, a fresh nonce each."""

    server: Server
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    authority: Authority
    choice: Choice
    signer: Signer
    transaction_id: str
    challenge: Secret | None

    def send(self, message_type: MessageType, message_data: bytes) -> CertRep:
        """Send one PKIMessage and return the reply that answers it, its signature and nonce checked."""
        if not self.signer.can_decrypt:
            self._password()  # nobody could read the reply, and the request would be spent
        nonce = self.random(_NONCE)
        message = build_message(
            message_type=message_type.value,
            transaction_id=self.transaction_id,
            sender_nonce=nonce,
            content=self._seal(message_data),
            signer=(self.signer.certificate_der, self.signer.key),
            digest=check_digest(self.signer.key, self.choice.digest),
            signing_time=self.now(),
            pss=self.choice.pss,
        )
        answer = ok(self.server.deliver(message, post=self.choice.post), "PKIOperation")
        return self._read(answer.body, nonce)

    def _seal(self, message_data: bytes) -> bytes:
        """Return the envelope: to the RA's RSA key, or where it has none or so chosen, by the challenge."""
        transport, recipient = self.choice.transport, self.authority.recipient
        if transport is None or recipient is None:
            return encrypt_for_password(message_data, self._password(), cipher=self.choice.cipher, random=self.random)
        return encrypt(message_data, recipient, cipher=self.choice.cipher, transport=transport, random=self.random)

    def _password(self) -> Secret:
        if self.challenge is None:
            raise OperatorError(
                "only the challenge can protect this message, since a key in it cannot encrypt (EC)",
                "--challenge-file FILE; or an RSA key: --key-type rsa:2048",
            )
        return self.challenge

    def _read(self, body: bytes, nonce: bytes) -> CertRep:
        hint = "do not trust this answer; tell the operator of the server"
        try:
            reply = read_certrep(
                body,
                trusted=self.authority.signers,
                policy=self.choice.policy,
                limits=self.server.limits or tlv.LIMITS,
            )
        except (MessageError, Reject) as error:
            raise OperatorError(f"the reply is not by the CA or its RA, or cannot be read: {error}", hint) from error
        if reply.transaction_id != self.transaction_id:
            raise OperatorError("the reply is to another transaction", hint)
        if reply.recipient_nonce != nonce:
            raise OperatorError("the reply does not echo our nonce: it may be an old one", hint)
        return reply

    def open(self, reply: CertRep) -> bytes:
        """Return what a SUCCESS carries; raises `StillPending`, `Refused` and `OperatorError`."""
        if reply.status is PkiStatus.PENDING:
            raise StillPending(
                f"pending: a person must approve transaction {self.transaction_id}",
                "scepd client poll with the same --key, now or later",
            )
        if reply.status is not PkiStatus.SUCCESS or not reply.content:
            raise refused(reply)
        try:
            return self._decrypt(reply.content)
        except (MessageError, Reject) as error:
            raise OperatorError(
                f"the reply cannot be decrypted: {error}",
                "--cipher as the server answers (des3, des); was the key changed meanwhile?",
            ) from error

    def _decrypt(self, content: bytes) -> bytes:
        password = self.challenge if self.signer.can_decrypt else self._password()
        signer, policy = self.signer, self.choice.policy
        if self.server.limits is None:
            return decrypt(content, signer.certificate_der, signer.key, policy, password=password)
        return decrypt(
            content, signer.certificate_der, signer.key, policy, password=password, limits=self.server.limits
        )


def refused(reply: CertRep) -> Refused:
    """Return a FAILURE in words: failInfo and failInfoText."""
    if reply.fail_info is None:
        return Refused("refused, without a reason", "the server's log")
    fail_info = FailInfo(reply.fail_info)
    words = ": ".join(part for part in ("refused", fail_info.name, printable(reply.fail_info_text or "")) if part)
    return Refused(words, _FAIL_HINTS[fail_info])


def ok(answer: Response, operation: str) -> Response:
    """Return an answer of HTTP status 200; raises `OperatorError` for any other."""
    if answer.status != 200:
        words = printable(answer.body[:200].decode("ascii", "replace")).strip()
        hint = "try again later" if answer.status == 503 else "is the URL that of a profile?"
        raise OperatorError(f"{operation}: HTTP {answer.status} {words}".strip(), hint)
    return answer


def printable(text: str) -> str:
    """Return a text from the network that cannot steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
