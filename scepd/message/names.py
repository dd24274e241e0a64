"""The words of RFC 8894 and CMS: object identifiers, message types, operations, media types."""

import enum


class MessageType(enum.IntEnum):
    """The messageType values of RFC 8894 section 3.2.1.2."""

    CertRep = 3
    RenewalReq = 17
    PKCSReq = 19
    CertPoll = 20  # GetCertInitial in the drafts
    GetCert = 21
    GetCRL = 22


class PkiStatus(enum.IntEnum):
    """The pkiStatus values of RFC 8894 section 3.2.1.3."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


class Operation(enum.Enum):
    """The values of the HTTP parameter `operation` (RFC 8894 section 4.1)."""

    GetCACaps = "GetCACaps"
    GetCACert = "GetCACert"
    GetNextCACert = "GetNextCACert"
    GetCACertChain = "GetCACertChain"  # of the drafts up to 18
    PKIOperation = "PKIOperation"


# Content types (RFC 5652).
DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
ENVELOPED_DATA = "1.2.840.113549.1.7.3"

# Signed attributes (RFC 5652 section 11; RFC 8894 section 3.2.1, table 2).
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
PKI_STATUS = "2.16.840.1.113733.1.9.3"
FAIL_INFO = "2.16.840.1.113733.1.9.4"
SENDER_NONCE = "2.16.840.1.113733.1.9.5"
RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
TRANSACTION_ID = "2.16.840.1.113733.1.9.7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"

# Attributes of a PKCS#10 (RFC 2985 section 5.4).
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"  # noqa: S105 - an OID
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
VERISIGN_EXTENSION_REQUEST = "2.16.840.1.113733.1.9.8"  # draft-nourse-scep-22, appendix A
MICROSOFT_EXTENSION_REQUEST = "1.3.6.1.4.1.311.2.1.14"

# Certificate extensions (RFC 5280 section 4.2.1).
SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
SUBJECT_ALT_NAME = "2.5.29.17"

# Media types of the replies; they carry no parameters, since sscep compares them as strings.
PKI_MESSAGE_TYPE = "application/x-pki-message"
CA_CERTIFICATE_TYPE = "application/x-x509-ca-cert"
CA_RA_CERTIFICATE_TYPE = "application/x-x509-ca-ra-cert"
CA_CHAIN_TYPE = "application/x-x509-ca-ra-cert-chain"
NEXT_CA_TYPE = "application/x-x509-next-ca-cert"
CRL_TYPE = "application/pkix-crl"
CERTS_ONLY_TYPE = "application/pkcs7-mime; smime-type=certs-only"
