"""Certificates whose server must staple an OCSP answer: there is one before anybody gets the certificate (RFC 7633)."""

from scepd.enroll.context import Context
from scepd.records import Transaction
from scepd.refusal import Unavailable
from scepd.x509.ocsp_request import OcspRequest
from scepd.x509.usages import TLS_FEATURE_DER

_RETRY = 5  # seconds


def prepare_staple(context: Context, transaction: Transaction, certificate_der: bytes) -> None:
    """Make the answers for a certificate that must be stapled, and keep them for those who ask (C-318).

    Raises `Unavailable` where there is none: the device comes back, and its certificate waits on record meanwhile.
    """
    if TLS_FEATURE_DER not in certificate_der:
        return
    issuer, responders = transaction.issuer, context.responders
    if issuer not in responders.by_issuer:
        raise Unavailable(f"issuer {issuer} answers no OCSP, and the certificate must be stapled", _RETRY)
    for asked in responders.authorities.asked_as(issuer, transaction.serial):
        answer = responders.answer(context.store, OcspRequest((asked,)), context.clock.now())
        if answer is None or not answer.known:
            raise Unavailable(f"OCSP knows nothing of certificate {transaction.serial:x} yet", _RETRY)
        context.prepared.keep(asked.der, answer, responders.by_issuer[issuer].lasting)
