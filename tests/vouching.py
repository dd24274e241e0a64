"""Certificates of OCSP keys, by what makes them in service: the ceremony's step the first, the renewal those that follow."""

from scepd.ca.drafting import Circumstances, draft_step
from scepd.ca.plan import Step, write_moment
from scepd.ca.renewal import draft_responder
from scepd.x509.certificate import new_serial
from scepd.x509.draft import seal
from scepd.x509.ocsp import ResponderCertificate


def first_responder(issuer, key, public_key, *, now, valid, random, subject="CN=Responder"):
    """Return the certificate of a responder's key that the CA `key` of `issuer` makes in a ceremony."""
    step = Step(makes="ocsp", subject=subject, not_after=write_moment(now + valid), output="ocsp.pem")
    draft = draft_step(step, public_key, issuer, Circumstances(new_serial(random), now))
    return seal(draft.der, key, issuer.public_key)


def next_responder(first, issuer, key, *, now, valid, random):
    """Return the certificate that follows `first` (DER), as the service renews it."""
    draft = draft_responder(ResponderCertificate.load(first), issuer, now, random, validity=valid)
    return seal(draft.der, key, issuer.public_key)
