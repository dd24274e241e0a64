"""Every field wrong in every plausible way: the problem stands at its place, says why, and says what to write."""

import copy
import datetime as dt

import pytest

from .pki import base

GONE = object()

ISSUER = "issuer.devices"
PLAIN = "listener.plain"
TLS = "listener.tls.tls"
ROUTERS = "profile.routers"
LAB = "profile.lab"

NOT_TEXT = [
    (5, "must be a text, not a number"),
    (True, "not a boolean"),
    ([], "not an array"),
    ({}, "not a table"),
    (dt.date(2030, 1, 1), "not a date"),
    ("", "is empty"),
    ("  ", "is empty"),
    ("a\nb", "control"),
    (1.5, "not a number"),
]
NOT_FLAG = [("true", "must be true or false, not a text"), (1, "not a number"), ([], "not an array")]
NOT_DURATION = [
    ("90", "no duration"),
    ("d", "no duration"),
    ("90 d", "no duration"),
    ("-1d", "no duration"),
    ("1.5h", "no duration"),
    ("90x", "no duration"),
    ("0d", "out of bounds"),
    ("101y", "out of bounds"),
    (90, "must be a duration, not a number"),
    ("", "no duration"),
    ("٣d", "no duration"),
    ("90d\n", "no duration"),
]
NOT_URL = [
    ("pki.example.net", "no http or https URL"),
    ("ftp://x/y", "no http"),
    ("http://", "no http"),
    ("http://x:99999/", "no URL"),
    ("http://a b/", "no http"),
    ("http://u:p@x/", "has a user"),
    ("http://x/?q", "has a user, a query"),
    ("http://x/#f", "fragment"),
    ("http://bücher.example/", "letters"),
    ("http://[::1/", "no URL"),
    (5, "must be a text"),
]
NOT_KEY_URI = [
    ("devices-ca", "no PKCS#11 URI"),
    ("pkcs11:", "does not say which key"),
    ("pkcs11:token=scepd", "does not say which key"),
    ("pkcs11:objekt=x", "'objekt' is no attribute"),
    ("pkcs11:object=", "without a value"),
    ("pkcs11:object=a;object=b", "twice"),
    ("pkcs11:object=a?pin-value=1234", "carries a PIN"),
    ("pkcs11:object=a?pin-source=file:x", "carries a PIN"),
    ("pkcs11:object=a;type=public", "not a private key"),
    (7, "must be a text"),
]
NOT_REFERENCE = [
    ("123456", "never written here"),
    (123456, "never written here"),
    ({}, "exactly one source"),
    ({"file": "a", "env": "B"}, "exactly one"),
    ({"fiel": "a"}, "'fiel' is no source"),
    ({"file": 5}, "followed by a name"),
    ({"file": ""}, "followed by a name"),
    ({"prompt": False}, "prompt can only be true"),
    ({"credential": "../hsm-pin"}, "no slash"),
    ({"file": "absent"}, "does not exist"),
    ({"credential": "hsm-pin"}, "not started by systemd"),
]
NOT_NAME = [
    ("Nope", "cannot be a name"),
    ("a/b", "cannot be a name"),
    ("..", "cannot be a name"),
    ("x" * 33, "cannot be a name"),
    ("", "is empty"),
]


def whole(low, high):
    return [
        ("5", "must be a whole number, not a text"),
        (1.5, "not a number"),
        (True, "not a boolean"),
        (low - 1, "out of bounds"),
        (high + 1, "out of bounds"),
        (10**30, "out of bounds"),
    ]


def one_of(near, far="zzzzzz"):
    return [(near, "is not known here"), (far, "is not known here"), (5, "must be a text"), ("", "is empty")]


NOT_TABLE = [(5, "must be a table"), ("x", "must be a table"), ([], "must be a table")]
NOT_TABLE_OR_FALSE = [
    (True, "must be a table or false, not a boolean"),
    ("x", "must be a table or false, not a text"),
    ([], "must be a table or false, not an array"),
    (0, "must be a table or false, not a number"),
]
NOT_DELAY = [entry for entry in NOT_DURATION if entry[0] != "0d"]
NOT_SKEW = [*NOT_DURATION, (True, "must be a duration, not a boolean")]
NOT_FRACTION = [
    (1, "out of bounds"),
    (1.0, "out of bounds"),
    (-0.1, "out of bounds"),
    (True, "must be a number, not a boolean"),
    ("0.5", "must be a number, not a text"),
    ([], "must be a number, not an array"),
]
NOT_MOMENT = [
    ("2031-03-01T06:00:00Z", "must be a date and time, not a text"),
    (1930000000, "must be a date and time, not a number"),
    (True, "not a boolean"),
    (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))), "out of bounds"),
]
NOT_ARRAY = [("x", "must be an array"), (5, "must be an array"), ({}, "must be an array")]

NOT_SERVICE = [
    *NOT_URL,
    ("http://mdm.example.net/", "in the clear"),
    ("http://127.0.0.1.example.net/", "in the clear"),
    ("https://169.254.169.254/", "link-local"),
    ("https://[fe80::1]/", "link-local"),
    ("https://0.0.0.0/", "link-local"),
]
NOT_TIMEOUT = [*NOT_DURATION, ("61s", "out of bounds"), ("1h", "out of bounds")]
NOT_SECRET = [
    *NOT_REFERENCE,
    ({"env": "K"}, "not taken from the environment"),
    ({"prompt": True}, "cannot be asked"),
    ({"file": "lab-challenge"}, "shorter than 32 characters"),
]
NOT_BUNDLE = [
    *NOT_TEXT,
    ("absent.pem", "does not exist"),
    ("hsm-pin", "holds no PEM certificate"),
    ("anchors.pem", "no CA certificate"),
    ("tls.key", "holds a private key"),
]

# Where a value goes, the wrong values with a part of the reason, and (optionally) where the problem is reported.
WRONG = [
    ("workers", whole(0, 256)),
    ("cpu_affinity", NOT_FLAG),
    ("appliance", NOT_TABLE),
    ("appliance.name", NOT_TEXT),
    ("appliance.public_url", NOT_URL),
    ("appliance.state", [*NOT_TEXT, ("tls.pem", "is no directory"), ("tls.pem/x", "cannot be read: Not a directory")]),
    ("appliance.runtime", [*NOT_TEXT, ("tls.pem", "is no directory"), ("r" * 90, "too long for the sockets")]),
    ("appliance.node", NOT_NAME),
    ("hsm", NOT_TABLE),
    ("hsm.module", [*NOT_TEXT, ("absent.so", "does not exist"), (".", "no regular file"), ("x" * 300, "File name too long")]),
    ("hsm.token", [*NOT_TEXT, ("t" * 33, "longer than 32 octets")]),
    ("hsm.serial", NOT_TEXT),
    ("hsm.module_sha256", [("ab12", "64 hex digits"), ("g" * 64, "64 hex digits"), (7, "64 hex digits")]),
    ("hsm.pin", [*NOT_REFERENCE, ({"env": "PIN"}, "not taken from the environment")]),
    ("hsm.softhsm2_conf", [*NOT_TEXT, ("absent.conf", "does not exist"), (".", "no regular file")]),
    ("hsm.environment", [*NOT_TABLE, ({"A B": "x"}, "no name of a variable"), ({"LD_PRELOAD": "x"}, "not the module's"), ({"PATH": "x"}, "not the module's"), ({"PYTHONPATH": "x"}, "not the module's"), ({"HSM_PIN": "x"}, "looks like a secret"), ({"A": 5}, "must be a text"), ({"A": "x\ny"}, "control characters")]),
    ("hsm.lanes", whole(1, 64)),
    ("hsm.deadline", NOT_DURATION),
    ("hsm.queue", whole(1, 10_000)),
    ("store", NOT_TABLE),
    ("store.key", [*NOT_REFERENCE, ({"env": "K"}, "not taken from the environment"), ({"prompt": True}, "cannot be asked"), ({"file": "hsm-pin"}, "7 octets, not 32")]),
    ("store.url", [*NOT_TEXT[:4], ("mysql://x", "no store"), ("sqlite://", "no store"), ("sqlite:///:memory:", "no store"), ("sqlite:///x?y=z", "no store"), ("/var/lib/x.db", "no store")]),
    ("log", NOT_TABLE),
    ("log.format", one_of("josn")),
    ("log.level", one_of("warning")),
    ("limits", NOT_TABLE),
    ("limits.body", whole(16_384, 1_048_576)),
    ("limits.request_line", whole(8_192, 1_048_576)),
    ("limits.header_lines", whole(16, 1_000)),
    ("limits.header_bytes", whole(2_048, 262_144)),
    ("limits.header_seconds", whole(1, 600)),
    ("limits.body_seconds", whole(1, 600)),
    ("limits.write_seconds", whole(1, 600)),
    ("limits.idle_seconds", whole(1, 600)),
    ("limits.connections", whole(1, 100_000)),
    ("limits.connections_per_address", whole(1, 100_000)),
    ("limits.in_flight_bytes", whole(1_048_576, 1_073_741_824)),
    ("limits.requests_per_network", whole(0, 1_000_000)),
    *((f"limits.failures_per_{kind}", whole(0, 1_000_000)) for kind in ("network", "profile", "key")),
    ("issuer", [*NOT_TABLE, ({}, "none is defined")]),
    (ISSUER, NOT_TABLE),
    (f"{ISSUER}.kind", one_of("locall")),
    (f"{ISSUER}.key", NOT_KEY_URI),
    (f"{ISSUER}.certificate", [*NOT_TEXT, ("absent.pem", "does not exist"), ("module.so", "no readable PEM"), ("hsm-pin", "no readable PEM")]),
    (f"{ISSUER}.chain", NOT_ARRAY),
    (f"{ISSUER}.crl_urls", NOT_ARRAY),
    (f"{ISSUER}.ocsp_urls", NOT_ARRAY),
    (f"{ISSUER}.issuer_urls", NOT_ARRAY),
    (f"{ISSUER}.ra_sign", NOT_TABLE),
    (f"{ISSUER}.ra_decrypt", NOT_TABLE),
    (f"{ISSUER}.ra_sign.key", NOT_KEY_URI),
    (f"{ISSUER}.ra_decrypt.key", NOT_KEY_URI),
    (f"{ISSUER}.ra_sign.certificate", [*NOT_TEXT, ("absent.pem", "does not exist")]),
    (f"{ISSUER}.ra_decrypt_previous", NOT_ARRAY),
    (f"{ISSUER}.ra_decrypt.certificate", [*NOT_TEXT, ("absent.pem", "does not exist")]),
    (f"{ISSUER}.ra", NOT_TABLE),
    (f"{ISSUER}.insecurely_ca_is_ra", NOT_FLAG),
    (f"{ISSUER}.crl", NOT_TABLE_OR_FALSE),
    (f"{ISSUER}.crl.valid", NOT_DURATION),
    (f"{ISSUER}.crl.shard_size", whole(2, 10_000_000)),
    (f"{ISSUER}.ocsp", NOT_TABLE),
    (f"{ISSUER}.ocsp.key", [*NOT_KEY_URI, ("pkcs11:token=scepd;object=devices-ca", "is the same key as that of"), ("pkcs11:token=scepd;object=devices-ra-sign", "is the same key as that of")]),
    (f"{ISSUER}.ocsp.certificate", [*NOT_TEXT, ("absent.pem", "does not exist"), ("devices-ca.pem", "is a CA certificate"), ("devices-ra-sign.pem", "may not sign OCSP answers"), ("devices-2-ocsp.pem", "is not signed by")]),
    (f"{ISSUER}.ocsp.valid", [*NOT_DURATION, ("25h", "for more than a day")]),
    (f"{ISSUER}.ocsp.cache", [*NOT_DELAY, ("12h", "given out when it has ended")]),
    (f"{ISSUER}.ocsp.certificate_valid", [*NOT_DURATION, ("1d", "must not end before"), ("91d", "its end must be near")]),
    (f"{ISSUER}.crl.every", [*NOT_DURATION, ("7d", "only when the one before has ended"), ("8d", "only when the one")]),
    (f"{ISSUER}.next", [*NOT_TEXT, ("devices-2", "there is no [issuer.devices-2]"), ("devices", "would follow itself")]),
    (f"{ISSUER}.next_from", [*NOT_MOMENT, (dt.date(2031, 3, 1), "nobody is named"), (dt.datetime(2031, 3, 1, tzinfo=dt.UTC), "nobody is named")]),
    (f"{ISSUER}.next_overlap", [*NOT_DURATION, ("1d", "nobody is named")]),
    ("listener", [*NOT_TABLE, ({}, "none is defined")]),
    (PLAIN, NOT_TABLE),
    (f"{PLAIN}.address", [([], "lists no address")]),
    (f"{PLAIN}.serves", [*NOT_ARRAY, ([], "nothing to serve")]),
    (f"{PLAIN}.tls", NOT_TABLE),
    (f"{TLS}.certificate", [*NOT_TEXT, ("absent.pem", "does not exist"), ("tls.key", "holds a private key")]),
    (f"{TLS}.key", [*NOT_REFERENCE, ({"env": "K"}, "not taken from the environment"), ({"prompt": True}, "cannot be asked"), ({"file": "hsm-pin"}, "no readable PEM private key")]),
    (f"{TLS}.minimum", [*one_of("1.1"), (1.2, "must be a text")]),
    (f"{PLAIN}.client_certificates", [*one_of("maybe", "on"), ("optional", "only TLS can ask"), ("required", "only TLS can ask")]),
    (f"{PLAIN}.trusted_proxies", [*NOT_TEXT, ("absent.txt", "does not exist"), ("networks.txt", "nothing says how"), ("hsm-pin", "line 1 is no network")]),
    (f"{PLAIN}.client_address_header", [*one_of("X-Forwarded", "Forwarded"), ("X-Forwarded-For", "nobody is trusted"), ("CF-Connecting-IP", "nobody is trusted")]),
    (f"{PLAIN}.client_certificate_header", [*one_of("Client-Certs", "X-Client"), ("Client-Cert", "nobody is trusted"), ("X-SSL-Client-Cert", "nobody is trusted")]),
    (f"{PLAIN}.proxy_protocol", [*NOT_FLAG, (True, "nobody is trusted")]),
    ("tenant", NOT_TABLE),
    ("tenant.acme", NOT_TABLE),
    ("tenant.acme.profiles", [*NOT_ARRAY, ([], "lists no profile")]),
    ("tenant.acme.administrators", NOT_ARRAY),
    ("profile", [*NOT_TABLE, ({}, "none is defined")]),
    (ROUTERS, NOT_TABLE),
    (f"{ROUTERS}.path", [*NOT_TEXT, ("Routers", "cannot be a path"), ("a/b", "cannot be a path"), ("../x", "cannot be a path"), ("x" * 33, "cannot be a path"), ("r.x", "cannot be a path"), *((word, "path of the server's own") for word in ("scep", "scep-mtls", "cgi-bin", "crl", "ocsp", "ca", "api", "livez", "readyz", "metrics")), (".well-known", "cannot be a path")]),
    (f"{ROUTERS}.issuer", [*NOT_TEXT, ("device", "there is no [issuer.device]")]),
    (f"{ROUTERS}.default", NOT_FLAG),
    (f"{ROUTERS}.preset", [*NOT_TEXT, ("defualt", "is not known here")]),
    (f"{ROUTERS}.validity", [*NOT_DURATION, ("11y", "longer than the issuer's whole life")]),
    (f"{ROUTERS}.backdate", NOT_DURATION),
    (f"{ROUTERS}.challenge", [*NOT_ARRAY, ([], "no challenge method is listed"), ([{"method": "one-time"}, {"method": "one-time"}], "listed twice")]),
    (f"{ROUTERS}.subject", NOT_TABLE),
    (f"{ROUTERS}.subject.allow", NOT_ARRAY),
    (f"{ROUTERS}.subject.set", NOT_TABLE),
    (f"{ROUTERS}.subject.set.O", [*NOT_TEXT, ("x" * 65, "longer than 64")]),
    (f"{ROUTERS}.subject.set.C", [("Germany", "longer than 2"), ("d1", "country code")]),
    (f"{ROUTERS}.subject.set.o", [("Example", "no attribute of a subject")]),
    (f"{ROUTERS}.subject.patterns", NOT_TABLE),
    (f"{ROUTERS}.subject.patterns.CN", [*NOT_TEXT, ("[a-", "no regular expression"), ("(", "no regular expression")]),
    (f"{ROUTERS}.subject.patterns.SN", [("x", "is not allowed, so nothing is matched")]),
    (f"{ROUTERS}.subject.patterns.cn", [("x", "no attribute of a subject")]),
    (f"{ROUTERS}.subject.required", NOT_ARRAY),
    (f"{ROUTERS}.names", NOT_TABLE),
    *((f"{ROUTERS}.names.{kind}", NOT_ARRAY) for kind in ("dns", "ip", "email", "uri")),
    (f"{ROUTERS}.names.common_name", NOT_FLAG),
    (f"{ROUTERS}.key", NOT_TABLE),
    (f"{ROUTERS}.key.rsa", [*NOT_ARRAY, ([2048], "fewest and the most"), ([4096, 2048], "fewest and the most"), ([2048, 3072, 4096], "fewest and the most"), ([1024, 4096], "1024 bits are too few"), ([], "fewest and the most")]),
    (f"{ROUTERS}.key.curves", NOT_ARRAY),
    (f"{ROUTERS}.key.ed25519", NOT_FLAG),
    (f"{ROUTERS}.key_usage", [*NOT_ARRAY, ([], "lists nothing")]),
    (f"{ROUTERS}.extended_key_usage", [*NOT_ARRAY, ([], "lists nothing")]),
    (f"{ROUTERS}.unknown_extensions", one_of("dorp")),
    (f"{ROUTERS}.include_chain", one_of("isuer", "root")),
    (f"{ROUTERS}.insecurely_accept_md5", NOT_FLAG),
    (f"{ROUTERS}.insecurely_accept_sha1", NOT_FLAG),
    (f"{ROUTERS}.insecurely_accept_des", NOT_FLAG),
    (f"{ROUTERS}.insecurely_accept_3des", NOT_FLAG),
    (f"{ROUTERS}.insecurely_accept_small_rsa", NOT_FLAG),
    (f"{ROUTERS}.must_staple", [*one_of("yes", "sometimes"), ("always", "answers no OCSP"), ("requested", "answers no OCSP")]),
    *((f"{ROUTERS}.{flag}", NOT_FLAG) for flag in ("serve_root", "advertise_sha384", "omit_fail_info_text", "omit_empty_content", "verisign_extension_request", "strict_nonce", "accept_missing_content_type", "unique_subject", "get_crl", "password_encryption", "get_only", "ca_certificate_chain", "insecurely_accept_raw_csr")),
    (f"{ROUTERS}.get_cert", one_of("ownr", "all")),
    (f"{ROUTERS}.renewal", NOT_TABLE_OR_FALSE),
    (f"{ROUTERS}.renewal.earliest", NOT_FRACTION),
    (f"{ROUTERS}.renewal.grace", NOT_DELAY),
    (f"{ROUTERS}.renewal.same_key", NOT_FLAG),
    (f"{ROUTERS}.renewal.by_pkcsreq", NOT_FLAG),
    (f"{ROUTERS}.renewal.challenge", one_of("ignore", "asked")),
    (f"{ROUTERS}.renewal.profiles", NOT_ARRAY),
    (f"{ROUTERS}.renewal.issuers", NOT_ARRAY),
    (f"{ROUTERS}.renewal.most", whole(1, 10_000)),
    (f"{ROUTERS}.renewal.longest", NOT_DURATION),
    (f"{ROUTERS}.renewal.revoke_previous", NOT_DURATION),
    (f"{ROUTERS}.approval", [*one_of("manuel", "never"), (True, "must be a text"), ([], "must be a text")]),
    (f"{ROUTERS}.approval.valid", NOT_DURATION),
    (f"{ROUTERS}.approval.most", whole(1, 100_000)),
    (f"{ROUTERS}.approval.automatic", [*NOT_TABLE, ({}, "no condition is written"), ({"renewals": False}, "no condition")]),
    (f"{ROUTERS}.approval.automatic.subject", NOT_TABLE),
    (f"{ROUTERS}.approval.automatic.subject.CN", [*NOT_TEXT, ("r[0-9", "no regular expression")]),
    (f"{ROUTERS}.approval.automatic.subject.cn", [("x", "no attribute of a subject")]),
    (f"{ROUTERS}.approval.automatic.subject.SN", [("x", "SN is never in a subject")]),
    (f"{ROUTERS}.approval.automatic.methods", NOT_ARRAY),
    (f"{ROUTERS}.approval.automatic.networks", NOT_ARRAY),
    (f"{ROUTERS}.approval.automatic.renewals", NOT_FLAG),
    (f"{ROUTERS}.signing_time", NOT_TABLE),
    (f"{ROUTERS}.signing_time.skew", NOT_SKEW),
    (f"{ROUTERS}.signing_time.renewal_skew", NOT_SKEW),
    (f"{ROUTERS}.signing_time.required", NOT_FLAG),
    (f"{ROUTERS}.names.copy", NOT_ARRAY),
    (f"{ROUTERS}.names.required", NOT_ARRAY),
    (f"{ROUTERS}.names.from_identity", NOT_FLAG),
    (f"{ROUTERS}.subject.from", NOT_TABLE),
    (f"{ROUTERS}.subject.from.CN", [*one_of("identiy", "request"), ("identity", "no challenge method of this profile vouches")]),
    (f"{ROUTERS}.subject.from.cn", [("csr", "no attribute of a subject")]),
    (f"{ROUTERS}.subject.from.SN", [("csr", "SN is not allowed in a request")]),
    (f"{ROUTERS}.unique_key", NOT_FLAG),
    (f"{ROUTERS}.enabled", NOT_FLAG),
    (f"{ROUTERS}.most_active", whole(1, 1_000_000)),
    (f"{ROUTERS}.compliance", NOT_TABLE),
    (f"{ROUTERS}.compliance.url", NOT_SERVICE),
    (f"{ROUTERS}.compliance.secret", NOT_SECRET),
    (f"{ROUTERS}.compliance.trust", NOT_BUNDLE),
    (f"{ROUTERS}.compliance.timeout", NOT_TIMEOUT),
    (f"{ROUTERS}.compliance.on_failure", one_of("refused", "allow")),
    (f"{ROUTERS}.compliance.insecurely_plain", NOT_FLAG),
    (f"{ROUTERS}.notify", NOT_ARRAY),
    (f"{ROUTERS}.client_certificate", NOT_TABLE),
    (f"{ROUTERS}.client_certificate.trust", NOT_BUNDLE),
    (f"{ROUTERS}.client_certificate.crl", [*NOT_TEXT, ("absent.crl", "does not exist"), ("hsm-pin", "holds no CRL")]),
    (f"{ROUTERS}.client_certificate.issued_here", NOT_FLAG),
    (f"{ROUTERS}.client_certificate.subject", one_of("samee", "other")),
]  # fmt: skip

# Wrong entries of arrays: the value, where the problem is reported (below the array), the reason.
WRONG_ENTRIES = [
    (f"{PLAIN}.address", [(text, reason) for text, reason in [("0.0.0.0", "has no port"), ("localhost:80", "no IP address"), ("127.0.0.1:http", "has no port"), ("127.0.0.1:70000", "does not exist"), ("::1:80", "in brackets"), ("[127.0.0.1]:80", "in brackets"), (":80", "no IP address"), ("1.2.3:80", "no IP address"), (80, "must be a text"), ("127.0.0.1:", "has no port"), ("300.1.1.1:80", "no IP address")]]),
    (f"{PLAIN}.serves", one_of("scpe", "admin")),
    (f"{ISSUER}.chain", [("absent.pem", "does not exist"), (5, "must be a text"), ("devices-ra-sign.pem", "no CA certificate")]),
    (f"{ISSUER}.crl_urls", NOT_URL),
    (f"{ISSUER}.ocsp_urls", NOT_URL),
    (f"{ISSUER}.issuer_urls", NOT_URL),
    (f"{ROUTERS}.subject.allow", [("cn", "no attribute of a subject"), ("Common Name", "no attribute"), (5, "must be a text")]),
    (f"{ROUTERS}.subject.required", [("SN", "can come from nowhere"), ("XX", "no attribute")]),
    (f"{ROUTERS}.names.dns", [("-x.example", "no host name"), ("x..y", "no host name"), ("*.*.example", "no host name"), ("r*.example", "no host name"), ("10.0.0.1", "an address, not a host name"), ("a b", "no host name"), ("x" * 64 + ".example", "no host name"), ("bücher.example", "no host name"), ("example.net.", "no host name")]),
    (f"{ROUTERS}.names.ip", [("10.0.0.1/8", "bits to the right"), ("10.0.0.0/33", "no network"), ("x", "no network"), ("10.0.0.*", "no network"), (10, "must be a text")]),
    (f"{ROUTERS}.names.email", [("a@", "no mail address"), ("@", "no mail address"), ("a b@example.net", "no mail address"), ("a@*.example.net", "no mail address")]),
    (f"{ROUTERS}.names.uri", [("(", "no regular expression"), (5, "must be a text")]),
    (f"{ROUTERS}.key.rsa", whole(1_024, 8_192)),
    (f"{ROUTERS}.key.curves", one_of("P256", "secp256k1")),
    (f"{ROUTERS}.key_usage", [("keyCertSign", "belongs to a CA"), ("cRLSign", "belongs to a CA"), ("digital_signature", "no key usage"), (1, "must be a text")]),
    (f"{ROUTERS}.extended_key_usage", [("clientauth", "no extended key usage"), ("anyExtendedKeyUsage", "no device may have"), ("OCSPSigning", "no device may have"), ("2.5.29.37.0", "no device may have"), ("cmcRA", "no device may have"), ("1.2.x", "no object identifier"), ("3.1", "no object identifier"), ("1.40", "no object identifier"), ("1.2.", "no object identifier"), ("1.02.3", "no object identifier"), (2, "must be a text")]),
    (f"{ROUTERS}.challenge", [("one-time", "must be a table")]),
    (f"{ROUTERS}.names.copy", [("cn", "no attribute of a subject"), (5, "must be a text")]),
    (f"{ROUTERS}.names.required", one_of("dsn", "upn")),
    (f"{ROUTERS}.renewal.profiles", [("router", "there is no [profile.router]"), (5, "must be a text")]),
    (f"{ROUTERS}.renewal.issuers", [("device", "there is no [issuer.device]"), (5, "must be a text")]),
    (f"{ROUTERS}.approval.automatic.methods", [*one_of("one-tme", "none"), ("static", "no challenge method of this profile")]),
    ("tenant.acme.profiles", [("router", "there is no [profile.router]"), (5, "must be a text")]),
    ("tenant.acme.administrators", [(name, reason) for name, reason in NOT_NAME if name]),
    (f"{ROUTERS}.notify", [("https://mdm.example.net", "must be a table")]),
    (f"{ROUTERS}.approval.automatic.networks", [("10.0.0.1/8", "bits to the right"), ("x", "no network")]),
    (f"{ISSUER}.ra_decrypt_previous", [(5, "must be a table")]),
]  # fmt: skip

WEBHOOK = {"method": "webhook", "url": "https://mdm/", "secret": {"file": "webhook-key"}, "trust": "mdm-ca.pem"}
PLAIN_HOOK = {"method": "webhook", "url": "http://127.0.0.1/", "secret": {"file": "webhook-key"}}
CLIENT_ID = "00000000-0000-0000-0000-00000000000a"
INTUNE = {"method": "intune", "tenant": "example.net", "client_id": CLIENT_ID, "secret": {"file": "webhook-key"}}
PAIRED = {**INTUNE, "certificate": "intune.pem", "key": {"file": "intune-key"}}
del PAIRED["secret"]
SIGNED = {"method": "signed", "trust": "anchors.pem", "audience": "scepd"}


def without(table, key):
    return {name: value for name, value in table.items() if name != key}


# Wrong challenges of the profile that has a static one.
WRONG_CHALLENGES = [
    *(({**WEBHOOK, "url": value}, "url", reason) for value, reason in NOT_SERVICE),
    *(({**WEBHOOK, "secret": value}, "secret", reason) for value, reason in NOT_SECRET),
    *(({**WEBHOOK, "trust": value}, "trust", reason) for value, reason in NOT_BUNDLE),
    *(({**WEBHOOK, "timeout": value}, "timeout", reason) for value, reason in NOT_TIMEOUT),
    *(({**WEBHOOK, "attributes": value}, "attributes", reason) for value, reason in NOT_ARRAY),
    *(({**WEBHOOK, "on_failure": value}, "on_failure", reason) for value, reason in one_of("pendign", "issue")),
    *(({**PLAIN_HOOK, "insecurely_plain": value}, "insecurely_plain", reason) for value, reason in NOT_FLAG),
    *((without(WEBHOOK, key), key, "is missing") for key in ("url", "secret", "trust")),
    ({**WEBHOOK, "attributes": ["cn"]}, "attributes[0]", "no attribute of a subject"),
    ({**WEBHOOK, "insecurely_plain": True}, "insecurely_plain", "nothing here is plain"),
    ({**WEBHOOK, "proxy": "http://proxy:3128"}, "proxy", "method webhook does nothing with it"),
    *(({**INTUNE, "tenant": value}, "tenant", reason) for value, reason in [*NOT_TEXT, ("common", "is no tenant"), ("a b.net", "is no tenant"), ("a/b.net", "is no tenant")]),
    *(({**INTUNE, "client_id": value}, "client_id", reason) for value, reason in [*NOT_TEXT, ("scepd", "no application ID"), (CLIENT_ID[1:], "no application ID")]),
    *(({**INTUNE, "secret": value}, "secret", reason) for value, reason in NOT_SECRET[:-1]),
    *(({**INTUNE, "trust": value}, "trust", reason) for value, reason in NOT_BUNDLE),
    *(({**INTUNE, "timeout": value}, "timeout", reason) for value, reason in NOT_TIMEOUT),
    *(({**INTUNE, "authority": value}, "authority", reason) for value, reason in NOT_SERVICE),
    *(({**INTUNE, "graph": value}, "graph", reason) for value, reason in NOT_SERVICE),
    *(({**INTUNE, "proxy": value}, "proxy", reason) for value, reason in [*NOT_URL, ("https://proxy:1", "is no proxy"), ("http://proxy", "is no proxy"), ("http://proxy:1/x", "is no proxy")]),
    *((without(INTUNE, key), key, "is missing") for key in ("tenant", "client_id")),
    *(({**PAIRED, "certificate": value}, "certificate", reason) for value, reason in [*NOT_TEXT, ("absent.pem", "does not exist"), ("mdm-ca.pem", "is not for an RSA key")]),
    *(({**PAIRED, "key": value}, "key", reason) for value, reason in [*NOT_SECRET[:-1], ({"file": "webhook-key"}, "no readable PEM private key"), ({"file": "tls.key"}, "not the key of the certificate")]),
    (without(PAIRED, "key"), "key", "is missing beside certificate"),
    (without(PAIRED, "certificate"), "certificate", "is missing beside key"),
    ({**INTUNE, **PAIRED}, "certificate", "there is a secret beside it"),
    ({**INTUNE, "attributes": ["CN"]}, "attributes", "method intune does nothing with it"),
    *(({**SIGNED, "trust": value}, "trust", reason) for value, reason in [*NOT_TEXT, ("absent.pem", "cannot be read"), ("hsm-pin", "nothing that is valid now")]),
    *(({**SIGNED, "audience": value}, "audience", reason) for value, reason in NOT_TEXT),
    *(({**SIGNED, "lifetime": value}, "lifetime", reason) for value, reason in [*NOT_DURATION, ("25h", "longer than a day")]),
    *(({**SIGNED, "per_device": value}, "per_device", reason) for value, reason in whole(0, 10_000)),
    *(({**SIGNED, "window": value}, "window", reason) for value, reason in NOT_DURATION),
    *((without(SIGNED, key), key, "is missing") for key in ("trust", "audience")),
    ({**SIGNED, "secret": {"file": "webhook-key"}}, "secret", "method signed does nothing with it"),
    ({"method": "entity", "mode": "close"}, "mode", "is not known here"),
    ({"method": "entity", "valid": 5}, "valid", "must be a duration"),
    ({"method": "entity", "secret": {"file": "lab-challenge"}}, "secret", "method entity does nothing with it"),
    ({"method": "client-certificate", "trust": "factory.pem"}, "trust", "method client-certificate does nothing"),
    ({}, "method", "is missing"),
    ({"method": "onetime"}, "method", "is not known here"),
    ({"method": "static"}, "secret", "is missing"),
    ({"method": "one-time", "secret": {"file": "lab-challenge"}}, "secret", "method one-time does nothing with it"),
    ({"method": "one-time", "insecurely_short": True}, "insecurely_short", "method one-time does nothing with it"),
    ({"method": "one-time", "valid": 24}, "valid", "must be a duration"),
    ({"method": "static", "secret": {"file": "lab-challenge"}, "valid": "1d"}, "valid", "method static does nothing with it"),
    ({"method": "static", "secret": {"file": "lab-challenge"}, "vaild": "1d"}, "vaild", "not a key"),
    ({"method": "static", "secret": {"file": "hsm-pin"}}, "secret", "shorter than 20 characters"),
    (
        {"method": "static", "secret": {"file": "lab-challenge"}, "insecurely_short": 1},
        "insecurely_short",
        "true or false",
    ),
    ({"method": "static", "secret": {"prompt": True}}, "secret", "cannot be asked"),
    ({"method": "static", "secret": {"env": "ABSENT"}}, "secret", "the environment has no ABSENT"),
    ({"method": "none", "valid": "1d"}, "valid", "method none does nothing with it"),
    ({"method": "none", "secret": {"file": "lab-challenge"}}, "secret", "method none does nothing with it"),
    ({"method": "none", "insecurely_short": True}, "insecurely_short", "method none does nothing with it"),
    ({"method": "static", "secret": "correct horse battery staple"}, "secret", "never written here"),
]

REQUIRED = [
    "hsm", "store", "issuer", "listener", "profile", "hsm.module", "hsm.token", "hsm.pin", "store.key",
    f"{ISSUER}.key", f"{ISSUER}.certificate", f"{ISSUER}.ra_sign", f"{ISSUER}.ra_decrypt", f"{ISSUER}.ra_sign.key",
    f"{ISSUER}.ra_sign.certificate", f"{ISSUER}.ra_decrypt.key", f"{ISSUER}.ra_decrypt.certificate",
    f"{PLAIN}.address", f"{TLS}.certificate", f"{TLS}.key", f"{ROUTERS}.issuer", f"{ROUTERS}.challenge",
]  # fmt: skip

# A key misspelt in every table, and the key that the hint must name.
MISSPELT = [
    ("", "profil", "profile"), ("appliance", "nmae", "name"), ("hsm", "modul", "module"), ("store", "uri", "url"),
    ("log", "levle", "level"), ("limits", "conections", "connections"), (ISSUER, "certficate", "certificate"),
    (f"{ISSUER}.ra_sign", "kye", "key"), (PLAIN, "adress", "address"), (TLS, "minimun", "minimum"),
    (ROUTERS, "validty", "validity"), (ROUTERS, "insecurely_accept_sha-1", "insecurely_accept_sha1"),
    (f"{ROUTERS}.subject", "alow", "allow"), (f"{ROUTERS}.names", "dsn", "dns"), (f"{ROUTERS}.key", "curve", "curves"),
    (ISSUER, "next_form", "next_from"), (f"{ISSUER}.crl", "evry", "every"), (ROUTERS, "aproval", "approval"),
    (f"{ROUTERS}.renewal", "earlist", "earliest"), (f"{ROUTERS}.approval", "vaild", "valid"),
    (f"{ROUTERS}.client_certificate", "turst", "trust"), (f"{ROUTERS}.compliance", "sercet", "secret"),
    ("tenant.acme", "profile", "profiles"), (PLAIN, "trusted_proxy", "trusted_proxies"),
    (f"{ROUTERS}.approval.automatic", "network", "networks"), (f"{ROUTERS}.signing_time", "skw", "skew"),
]  # fmt: skip


def place(tables, path, value):
    """Set (or delete) what a dotted path names."""
    *above, last = path.split(".")
    for step in above:
        tables = tables.setdefault(step, {})
    if value is GONE:
        del tables[last]
    else:
        tables[last] = value


def cases():
    for path, wrong in WRONG:
        yield from ((path, value, path, reason) for value, reason in wrong)
    for path, wrong in WRONG_ENTRIES:
        yield from ((path, [value], f"{path}[0]", reason) for value, reason in wrong)
    for challenge, key, reason in WRONG_CHALLENGES:
        yield f"{LAB}.challenge", [challenge], f"{LAB}.challenge[0].{key}", reason
    for path in REQUIRED:
        yield path, GONE, path, "is missing"


@pytest.mark.parametrize(("path", "value", "where", "reason"), list(cases()))
def test_wrong_value_is_reported_at_its_place(refused, site, path, value, where, reason):
    tables = base()
    place(tables, path, value)
    problems = refused(tables)
    here = [problem for problem in problems if problem.path == f"$.{where}" and reason in problem.reason]
    assert here, [str(problem) for problem in problems]
    assert here[0].hint
    assert here[0].file == site / "scepd.toml"


@pytest.mark.parametrize(("path", "key", "known"), MISSPELT)
def test_misspelt_key_suggests_the_nearest(refused, path, key, known):
    tables = base()
    full = f"{path}.{key}".lstrip(".")
    place(tables, full, "x")
    (problem,) = [problem for problem in refused(tables) if "is not a key of this table" in problem.reason]
    assert problem.path.replace("'", "") == f"$.{full}"
    assert problem.hint.startswith(f"did you mean {known}?")


def test_far_off_key_lists_all(refused):
    tables = base()
    tables["store"]["zzzz"] = 1
    (problem,) = refused(tables)
    assert problem.hint == "known: key, url"


def test_all_problems_come_at_once(refused):
    # One wrong value for every key that can be wrong beside the others.
    tables, expected = base(), set()
    for path, value, where, _ in cases():
        if (
            value is GONE
            or isinstance(value, dict)
            or any(
                path.startswith(f"{other}.") or other.startswith(f"{path}.") or other == path
                for other in _paths(expected)
            )
        ):
            continue
        if (
            path
            in {"appliance", "hsm", "store", "log", "limits", "issuer", "listener", "profile", ISSUER, PLAIN, ROUTERS}
            or where.endswith(
                ("ra_sign", "ra_decrypt", ".ra", ".crl", ".next_from", ".renewal", ".approval", ".automatic", ".signing_time", "tls", ".names", ".key.key", "subject", "subject.set", "subject.patterns")
            )
            or path == f"{ROUTERS}.key"
        ):
            continue
        place(tables, path, copy.deepcopy(value))
        expected.add(where)
    found = {problem.path for problem in refused(tables)}
    assert {f"$.{where}" for where in expected} <= found
    assert len(expected) > 70


def _paths(wheres):
    return {where.partition("[")[0] for where in wheres}


def test_names_of_entries_are_judged(refused):
    tables = base()
    tables["profile"]["../evil"] = {"issuer": "devices", "challenge": [{"method": "one-time"}], "path": "evil"}
    tables["listener"]["Ä"] = {"address": "127.0.0.1:9999"}
    tables["issuer"]["Big"] = tables["issuer"]["devices"]
    found = {problem.path: problem.reason for problem in refused(tables)}
    assert "cannot be a name" in found["$.profile.'../evil'"]
    assert "cannot be a name" in found["$.listener.'Ä'"]
    assert "cannot be a name" in found["$.issuer.Big"]


def test_a_name_that_cannot_be_a_path_needs_one(refused):
    tables = base()
    tables["profile"]["scep"] = tables["profile"].pop("routers")
    (problem,) = refused(tables)
    assert (problem.path, problem.hint) == ("$.profile.scep.path", 'path = "devices"')
    assert "path of the server's own" in problem.reason


def test_two_profiles_on_one_path(refused):
    tables = base()
    tables["profile"]["lab"]["path"] = "routers"
    (problem,) = refused(tables)
    assert problem.path == "$.profile.lab.path"
    assert "is the path of profile routers already" in problem.reason


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (True, True, "default profile already"),
        (False, False, "no profile is the default one"),
        (None, None, "no profile is the default one"),
    ],
)
def test_exactly_one_default(refused, first, second, reason):
    tables = base()
    for name, value in (("routers", first), ("lab", second)):
        tables["profile"][name].pop("default", None)
        if value is not None:
            tables["profile"][name]["default"] = value
    (problem,) = refused(tables)
    assert problem.path.endswith(".default")
    assert reason in problem.reason


def test_a_profile_alone_may_not_deny_being_the_default(refused):
    tables = base()
    del tables["profile"]["lab"]
    tables["profile"]["routers"]["default"] = False
    assert "no profile is the default one" in refused(tables)[0].reason


def test_two_listeners_on_one_address(refused):
    tables = base()
    tables["listener"]["plain"]["address"] = ["127.0.0.1:8080", "[0:0::1]:8443"]
    (problem,) = refused(tables)
    assert (problem.path, problem.reason) == (
        "$.listener.tls.address",
        "[::1]:8443 is already an address of listener plain",
    )


def test_S32_a_profile_without_authenticator_does_not_start(refused):
    tables = base()
    tables["profile"]["routers"]["challenge"] = []
    (problem,) = refused(tables)
    assert (problem.path, problem.reason) == ("$.profile.routers.challenge", "no challenge method is listed")


def test_render_says_what_where_and_try(site, compiled):
    from scepd.problems import ConfigurationError

    tables = base()
    tables["profile"]["routers"]["validity"] = "soon"
    tables["log"]["level"] = "warning"
    with pytest.raises(ConfigurationError) as caught:
        compiled(tables)
    lines = caught.value.render().splitlines()
    how = 'write number and unit (s m h d w y), such as "90d", "12h" or "2y"'
    assert lines == [
        f"'warning' is not known here · {site}/scepd.toml $.log.level · did you mean warn? (known: debug, error, info, warn)",
        f"'soon' is no duration · {site}/scepd.toml $.profile.routers.validity · {how}",
    ]
    assert str(caught.value) == caught.value.render()
