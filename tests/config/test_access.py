"""Who is let in: methods, hooks, gates, listeners and limits, as they are compiled and as they must agree."""

import datetime as dt
import pickle

import attrs
import pytest
from cryptography import x509

from scepd.config.settings import dump, restore
from scepd.profile.model import (
    ClientCertificateGate,
    ClientCertificateRule,
    EntityRule,
    IntuneRule,
    OneTimeRule,
    SignedRule,
    StaticRule,
    WebhookRule,
)
from scepd.records import Secret

from .pki import CA_USAGES, DAY, NOW, base, certificate, crl, pem, write_secret
from .test_bad_values import CLIENT_ID, INTUNE, PAIRED, PLAIN_HOOK, SIGNED, WEBHOOK

SECRET = Secret("0123456789abcdef" * 2)
ONE_TIME = {"method": "one-time"}
STATIC = {"method": "static", "secret": {"file": "lab-challenge"}}
GATE = {"trust": "factory.pem"}
MTLS = {
    "address": "127.0.0.1:9443",
    "tls": {"certificate": "tls.pem", "key": {"file": "tls.key"}},
    "client_certificates": "required",
}


def with_profile(**changes):
    tables = base()
    tables["profile"]["routers"].update(changes)
    return tables


def gated(**changes):
    """A profile with a gate, and the listener that it needs."""
    tables = with_profile(client_certificate=GATE, **changes)
    tables["listener"]["mtls"] = dict(MTLS)
    return tables


def with_listener(name="plain", **changes):
    tables = base()
    tables["listener"][name].update(changes)
    return tables


@pytest.fixture
def routers(compiled):
    return lambda **changes: compiled(with_profile(**changes)).default_profile


@pytest.fixture
def problem_of(refused):
    def find(tables):
        (problem,) = refused(tables)
        assert problem.hint
        return problem.path.removeprefix("$."), problem.reason

    return find


# Methods


def test_methods_keep_their_order(routers, site):
    methods = [PAIRED, SIGNED, WEBHOOK, {"method": "entity", "mode": "open"}, STATIC, ONE_TIME]
    kinds = [type(rule) for rule in routers(challenge=methods).challenge]
    assert kinds == [IntuneRule, SignedRule, WebhookRule, EntityRule, StaticRule, OneTimeRule]


def test_webhook(routers, site):
    (rule,) = routers(
        challenge=[{**WEBHOOK, "attributes": ["CN", "O"], "timeout": "9s", "on_failure": "pending"}]
    ).challenge
    assert rule == WebhookRule(
        url="https://mdm/",
        secret=SECRET,
        trust_pem=(site / "mdm-ca.pem").read_bytes(),
        timeout=dt.timedelta(seconds=9),
        attributes=("CN", "O"),
        on_failure="pending",
    )
    assert "0123456789abcdef" not in repr(rule)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "[::1]", "localhost"])
def test_plain_http_stays_on_this_machine_and_is_told(compiled, host):
    hook = {**PLAIN_HOOK, "url": f"http://{host}:8000/x", "insecurely_plain": True}
    settings = compiled(with_profile(challenge=[hook]))
    assert settings.default_profile.challenge[0].trust_pem == b""
    assert settings.insecure == ("profile.routers.insecurely_plain",)


@pytest.mark.parametrize("key", ["compliance", "notify"])
def test_plain_http_of_hooks_is_told(compiled, key):
    hook = {key_: value for key_, value in PLAIN_HOOK.items() if key_ != "method"} | {"insecurely_plain": True}
    settings = compiled(with_profile(**{key: hook if key == "compliance" else [hook]}))
    assert settings.insecure == ("profile.routers.insecurely_plain",)


def test_plain_http_is_never_by_accident(problem_of):
    path, reason = problem_of(with_profile(challenge=[PLAIN_HOOK]))
    assert (path, reason) == ("profile.routers.challenge[0]", "http://127.0.0.1/ is plain HTTP")


def test_intune_by_secret(routers):
    (rule,) = routers(challenge=[INTUNE]).challenge
    assert rule == IntuneRule(tenant="example.net", client_id=CLIENT_ID, secret=SECRET)
    assert (rule.authority, rule.graph) == ("https://login.microsoftonline.com", "https://graph.microsoft.com")


def test_intune_by_certificate(routers, site):
    whole = {
        **PAIRED,
        "authority": "https://login.microsoftonline.us",
        "graph": "https://graph.microsoft.us",
        "trust": "mdm-ca.pem",
        "proxy": "http://proxy:3128/",
        "timeout": "20s",
        "on_failure": "pending",
    }
    (rule,) = routers(challenge=[whole]).challenge
    assert rule == IntuneRule(
        tenant="example.net",
        client_id=CLIENT_ID,
        certificate_pem=(site / "intune.pem").read_bytes(),
        key_pem=Secret((site / "intune-key").read_text()),
        authority="https://login.microsoftonline.us",
        graph="https://graph.microsoft.us",
        trust_pem=(site / "mdm-ca.pem").read_bytes(),
        proxy="http://proxy:3128",
        timeout=dt.timedelta(seconds=20),
        on_failure="pending",
    )


def test_intune_proves_itself_somehow(problem_of):
    nothing = {key: value for key, value in INTUNE.items() if key != "secret"}
    assert "nothing to prove itself with" in problem_of(with_profile(challenge=[nothing]))[1]


def test_intune_s_certificate_is_valid_now(problem_of, site):
    (site / "intune.pem").write_bytes(pem(certificate("rsa-intune", end=NOW - DAY)))
    path, reason = problem_of(with_profile(challenge=[PAIRED]))
    assert path == "profile.routers.challenge[0].certificate"
    assert "expired" in reason


def test_signed(routers, site):
    (rule,) = routers(challenge=[{**SIGNED, "lifetime": "1d", "per_device": 1, "window": "7d"}]).challenge
    assert rule == SignedRule(trust=site / "anchors.pem", audience="scepd", lifetime=DAY, per_device=1, window=7 * DAY)


@pytest.mark.parametrize(
    ("anchor", "reason"),
    [
        (certificate("rsa-connector", end=NOW - DAY), "nothing that is valid now"),
        (certificate("rsa-connector", begin=NOW + DAY), "nothing that is valid now"),
        (certificate("small-connector"), "neither RSA of 2048 bits"),
        (certificate("ed-connector"), "neither RSA of 2048 bits"),
    ],
)
def test_S94_anchors_of_tokens_are_judged(problem_of, site, anchor, reason):
    (site / "anchors.pem").write_bytes(pem(anchor))
    path, said = problem_of(with_profile(challenge=[SIGNED]))
    assert path == "profile.routers.challenge[0].trust"
    assert reason in said


def test_entity_defaults(routers):
    assert routers(challenge=[{"method": "entity"}]).challenge == (EntityRule(),)


@pytest.mark.parametrize("method", [{"method": "entity"}, INTUNE, SIGNED, ONE_TIME])
def test_a_method_stands_once(problem_of, method):
    path, reason = problem_of(with_profile(challenge=[method, STATIC, method]))
    assert (path, reason) == ("profile.routers.challenge", f"{method['method']} is listed twice")


@pytest.mark.parametrize("method", [WEBHOOK, STATIC])
def test_two_services_or_texts_are_two_methods(routers, method):
    assert len(routers(challenge=[method, method]).challenge) == 2


def test_nothing_follows_a_client_certificate(problem_of):
    path, reason = problem_of(gated(challenge=[{"method": "client-certificate"}, ONE_TIME]))
    assert path == "profile.routers.challenge[0]"
    assert "nothing after it is ever tried" in reason


@pytest.mark.parametrize("method", [WEBHOOK, INTUNE, SIGNED, {"method": "entity"}])
def test_C256_passwords_come_from_methods_that_know_them(problem_of, routers, method):
    path, reason = problem_of(with_profile(challenge=[method], password_encryption=True))
    assert (path, reason) == ("profile.routers.challenge", "there is no password to encrypt with")
    assert routers(challenge=[method, ONE_TIME], password_encryption=True).password_encryption


def test_S33_secrets_are_in_no_repr_and_travel(compiled):
    settings = compiled(with_profile(challenge=[WEBHOOK, PAIRED], notify=[{**_hook(), "timeout": "1s"}]))
    assert restore(dump(settings)) == settings
    text = repr(settings)
    for secret in ("0123456789abcdef", "PRIVATE KEY"):
        assert secret not in text
        assert secret.encode() in pickle.dumps(settings)


def _hook():
    return {key: value for key, value in WEBHOOK.items() if key != "method"}


# Hooks


def test_hooks(routers, site):
    profile = routers(
        compliance={**_hook(), "on_failure": "pending"}, notify=[_hook(), {**_hook(), "url": "https://b/"}]
    )
    assert profile.compliance == WebhookRule(
        url="https://mdm/", secret=SECRET, trust_pem=(site / "mdm-ca.pem").read_bytes(), on_failure="pending"
    )
    assert [rule.url for rule in profile.notify] == ["https://mdm/", "https://b/"]


@pytest.mark.parametrize("key", ["url", "secret"])
@pytest.mark.parametrize("hook", ["compliance", "notify"])
def test_hooks_need_address_and_secret(problem_of, key, hook):
    table = {name: value for name, value in _hook().items() if name != key}
    path, reason = problem_of(with_profile(**{hook: table if hook == "compliance" else [table]}))
    assert (path, reason) == (f"profile.routers.{hook}{'' if hook == 'compliance' else '[0]'}.{key}", "is missing")


# Policy


def test_policy_words(routers):
    profile = routers(
        challenge=[{"method": "entity"}],
        subject={"allow": ["OU"], "from": {"CN": "identity", "OU": "csr"}, "required": ["CN"]},
        names={"from_identity": True},
        unique_key=True,
        most_active=3,
        enabled=False,
    )
    assert profile.subject.sources == (("CN", "identity"), ("OU", "csr"))
    assert profile.names.from_identity
    assert (profile.unique_key, profile.most_active, profile.enabled) == (True, 3, False)


def test_policy_defaults(routers):
    profile = routers()
    assert (profile.subject.sources, profile.names.from_identity) == ((), False)
    assert (profile.unique_key, profile.most_active, profile.enabled) == (False, None, True)
    assert (profile.compliance, profile.notify, profile.client_certificate) == (None, (), None)


def test_an_attribute_has_one_source(problem_of):
    subject = {"set": {"O": "Example"}, "from": {"O": "identity"}}
    path, reason = problem_of(with_profile(challenge=[{"method": "entity"}], subject=subject))
    assert path == "profile.routers.subject.from.O"
    assert "stands in set" in reason


@pytest.mark.parametrize("method", [STATIC, {"method": "none"}])
def test_names_need_somebody_who_vouches(problem_of, method):
    tables = with_profile(challenge=[method], names={"from_identity": True}, approval="manual")
    assert problem_of(tables) == (
        "profile.routers.names.from_identity",
        "no challenge method of this profile vouches for names",
    )


@pytest.mark.parametrize("methods", [["webhook"], ["intune"], ["signed"], ["entity"], ["client-certificate"]])
def test_requests_of_every_method_can_be_automatic(compiled, methods):
    known = {"webhook": WEBHOOK, "intune": INTUNE, "signed": SIGNED}
    challenge = [known.get(method, {"method": method}) for method in methods]
    tables = gated(challenge=challenge, approval={"automatic": {"methods": methods}})
    assert compiled(tables).default_profile.approval.automatic.methods == frozenset(methods)


# Gates


def test_gate(compiled, site):
    tables = gated()
    tables["profile"]["routers"]["client_certificate"] = {
        **GATE,
        "crl": "factory.crl",
        "issued_here": False,
        "subject": "any",
    }
    gate = compiled(tables).default_profile.client_certificate
    assert gate == ClientCertificateGate(
        trust=site / "factory.pem", crl=site / "factory.crl", issued_here=False, subject="any"
    )
    assert compiled(gated()).default_profile.client_certificate == ClientCertificateGate(trust=site / "factory.pem")


def test_client_certificate_alone_is_a_method(compiled):
    profile = compiled(gated(challenge=[{"method": "client-certificate"}])).default_profile
    assert profile.challenge == (ClientCertificateRule(),)


def test_the_method_needs_its_gate(problem_of):
    path, reason = problem_of(with_profile(challenge=[{"method": "client-certificate"}]))
    assert (path, reason) == ("profile.routers.challenge[0]", "the profile asks for none")


@pytest.mark.parametrize(
    "change",
    [{"client_certificates": "off"}, {"serves": ["publication"]}],
)
def test_S97_a_gate_needs_a_listener_that_asks(refused, change):
    tables = gated()
    tables["listener"]["mtls"].update(change)
    assert "$.profile.routers.client_certificate" in {problem.path for problem in refused(tables)}


def test_a_gate_may_learn_from_a_trusted_proxy(compiled):
    tables = with_profile(client_certificate=GATE)
    tables["listener"]["tls"].update(
        address="127.0.0.1:8443", trusted_proxies="networks.txt", client_certificate_header="X-SSL-Client-Cert"
    )
    settings = compiled(tables)
    assert settings.listeners[-1].client_certificate_header == "X-SSL-Client-Cert"


def test_no_bare_request_comes_past_a_gate(problem_of):
    path, reason = problem_of(gated(insecurely_accept_raw_csr=True))
    assert path == "profile.routers.insecurely_accept_raw_csr"
    assert "past the gate" in reason


@pytest.mark.parametrize(
    ("anchors", "reason"),
    [
        ([certificate("ec-factory", ca=True, end=NOW - DAY)], "expired"),
        ([certificate("ec-factory", ca=True, begin=NOW + DAY)], "valid only from"),
        ([certificate("ec-factory", ca=False)], "no CA certificate"),
        ([certificate("ec-factory", ca=None)], "no CA certificate"),
        ([certificate("ec-factory", ca=True, usages=("crl_sign",))], "may not sign certificates"),
        ([certificate("small-factory", ca=True)], "1024 bits"),
        ([certificate("ec-factory", ca=True, usages=CA_USAGES), certificate("ec-tls")], "no CA certificate"),
        ([], "no PEM certificate"),
    ],
)
def test_S95_bundles_are_judged(problem_of, site, anchors, reason):
    (site / "factory.pem").write_bytes(pem(*anchors))
    path, said = problem_of(gated())
    assert path == "profile.routers.client_certificate.trust"
    assert reason in said
    assert str(site / "factory.pem") in said


def test_S95_all_that_is_wrong_with_a_bundle_is_said(refused, site):
    (site / "factory.pem").write_bytes(pem(certificate("ec-factory", end=NOW - DAY), certificate("small-x", name="B")))
    reasons = [problem.reason for problem in refused(gated())]
    assert len(reasons) == 4  # no CA, expired; no CA, a small key


def test_a_crl_that_has_ended_is_doubtful_and_no_more(compiled, site):
    (site / "factory.crl").write_bytes(crl("ec-factory", "Factory CA", end=NOW - DAY / 2))
    tables = gated()
    tables["profile"]["routers"]["client_certificate"] = {**GATE, "crl": "factory.crl"}
    (warning,) = compiled(tables).warnings
    assert warning.path == "$.profile.routers.client_certificate.crl"
    assert "nobody passes" in warning.reason


# Listeners


def test_listener_defaults(compiled):
    listener = compiled(base()).listeners[0]
    fields = attrs.asdict(listener)
    assert (fields["client_certificates"], fields["trusted_proxies"], fields["proxy_protocol"]) == ("off", None, False)
    assert (fields["client_address_header"], fields["client_certificate_header"]) == (None, None)


def test_listener_behind_a_proxy(compiled, site):
    tables = with_listener(trusted_proxies="networks.txt", client_address_header="CF-Connecting-IP")
    listener = compiled(tables).listeners[0]
    assert (listener.trusted_proxies, listener.client_address_header) == (site / "networks.txt", "CF-Connecting-IP")


@pytest.mark.parametrize("name", ["plain", "tls"])
def test_S37_challenges_travel_under_TLS_unless_it_is_said(compiled, problem_of, name):
    tables = base()
    tables["listener"][name]["serves"] = ["scep", "challenges"]
    if name == "tls":
        assert compiled(tables).insecure == ()
        return
    path, reason = problem_of(tables)
    assert (path, "in clear" in reason) == ("listener.plain.serves", True)
    tables["listener"][name]["insecurely_plain_challenges"] = True
    assert compiled(tables).insecure == ("listener.plain.insecurely_plain_challenges",)


def test_C9_a_device_may_have_no_limit(routers):
    (rule,) = routers(challenge=[{**SIGNED, "per_device": 0}]).challenge
    assert rule.per_device == 0


def test_S37_a_certificate_is_nothing_to_the_generator(compiled):
    tables = gated()
    tables["listener"]["mtls"]["serves"] = ["scep", "challenges"]
    assert "the token alone" in [warning.reason for warning in compiled(tables).warnings][-1]


@pytest.mark.parametrize(("name", "serves"), [("plain", ["scep"]), ("tls", ["scep", "challenges"])])
def test_S37_a_switch_for_nothing_is_told(problem_of, name, serves):
    path, _reason = problem_of(with_listener(name, serves=serves, insecurely_plain_challenges=True))
    assert path == f"listener.{name}.insecurely_plain_challenges"


def test_challenges_are_served_where_some_profile_takes_them(problem_of):
    tables = with_profile(challenge=[STATIC])
    tables["listener"]["tls"]["serves"] = ["scep", "challenges"]
    assert problem_of(tables) == ("listener.tls.serves", "no profile takes one-time challenges")


def forwarding(**fields):
    common = {"trusted_proxies": "networks.txt", "client_certificate_header": "Client-Cert"}
    return with_listener("tls", **common | fields)


@pytest.mark.parametrize("address", ["127.0.0.1:8443", ["127.0.0.1:8443", "[::1]:8443"]])
def test_S100_on_this_machine_the_proxys_address_is_enough(compiled, address):
    assert compiled(forwarding(address=address)).listeners[-1].proxy_trust is None


def test_S100_on_a_network_a_proxy_has_a_certificate_unless_it_is_said(compiled, problem_of, site):
    path, reason = problem_of(forwarding(address="0.0.0.0:8443"))
    assert (path, "could be any device" in reason) == ("listener.tls.client_certificate_header", True)
    proven = compiled(forwarding(address="0.0.0.0:8443", proxy_trust="factory.pem"))
    assert (proven.listeners[-1].proxy_trust, proven.listeners[-1].asks) == (site / "factory.pem", "optional")
    assert proven.insecure == ()
    told = compiled(forwarding(address="0.0.0.0:8443", insecurely_unproven_proxies=True))
    assert told.insecure == ("listener.tls.insecurely_unproven_proxies",)


def test_S100_forwarded_certificates_are_for_TLS_alone(problem_of):
    tables = with_listener(trusted_proxies="networks.txt", client_certificate_header="Client-Cert")
    tables["listener"]["plain"]["address"] = "127.0.0.1:8080"
    assert problem_of(tables) == ("listener.plain.client_certificate_header", "/scep-mtls is served under TLS alone")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"proxy_trust": "factory.pem", "client_certificate_header": None}, "proxy_trust"),
        ({"proxy_trust": "factory.pem", "insecurely_unproven_proxies": True}, "insecurely_unproven_proxies"),
        ({"address": "127.0.0.1:8443", "insecurely_unproven_proxies": True}, "insecurely_unproven_proxies"),
        ({"proxy_trust": "absent.pem"}, "proxy_trust"),
        ({"proxy_trust": "tls.key"}, "proxy_trust"),
    ],
)
def test_S100_what_proves_nothing_is_told(problem_of, fields, path):
    tables = forwarding(**{"address": "0.0.0.0:8443", "client_address_header": "X-Forwarded-For"} | fields)
    if fields.get("client_certificate_header", "") is None:
        del tables["listener"]["tls"]["client_certificate_header"]
    assert problem_of(tables)[0] == f"listener.tls.{path}"


@pytest.mark.parametrize("header", ["client_address_header", "client_certificate_header"])
def test_S78_behind_the_PROXY_protocol_headers_are_the_clients(problem_of, header):
    value = "X-Forwarded-For" if "address" in header else "Client-Cert"
    tables = with_listener(trusted_proxies="networks.txt", proxy_protocol=True, **{header: value})
    path, reason = problem_of(tables)
    assert path == f"listener.plain.{header}"
    assert "client's own" in reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "lists 0 networks"),
        (b"# nothing\n", "lists 0 networks"),
        (b"0.0.0.0/0\n", "line 1 is everybody"),
        (b"\n::/0", "line 2 is everybody"),
        (b"192.0.2.1/24", "line 1 is no network"),
        (b"proxy.example.net", "line 1 is no network"),
        (b"\xff\xfe", "line 1 is no network"),
    ],
)
def test_S77_trusted_proxies_are_judged(problem_of, site, text, reason):
    (site / "networks.txt").write_bytes(text)
    path, said = problem_of(with_listener(trusted_proxies="networks.txt", proxy_protocol=True))
    assert path == "listener.plain.trusted_proxies"
    assert reason in said


def test_S77_trusted_proxies_that_others_may_write(problem_of, site):
    (site / "networks.txt").chmod(0o666)
    path, said = problem_of(with_listener(trusted_proxies="networks.txt", proxy_protocol=True))
    assert path == "listener.plain.trusted_proxies"
    assert "written by others" in said


def test_mtls_on_its_own_port_is_no_doubt(compiled):
    assert compiled(gated()).warnings == ()


def test_asking_everybody_for_certificates_is_doubtful(compiled):
    tables = gated()
    del tables["listener"]["plain"], tables["listener"]["tls"]
    (warning,) = compiled(tables).warnings
    assert warning.path == "$.listener.mtls.client_certificates"
    assert "the devices of lab are asked too" in warning.reason
    del tables["profile"]["lab"]
    assert compiled(tables).warnings == ()


def test_publication_behind_certificates_is_doubtful(compiled):
    tables = gated()
    tables["listener"]["mtls"]["serves"] = ["scep", "publication"]
    (warning,) = compiled(tables).warnings
    assert "CRL" in warning.reason


def test_limits(compiled):
    tables = base()
    tables["limits"] |= {"failures_per_network": 30, "failures_per_profile": 1_000, "failures_per_key": 5}
    tables["limits"]["requests_after_failure"] = 600
    limits = compiled(tables).limits
    assert (limits.failures_per_network, limits.failures_per_profile, limits.failures_per_key) == (30, 1_000, 5)
    assert limits.requests_after_failure == 600


def test_a_bundle_with_a_text_secret_of_32_characters(routers, site):
    write_secret(site / "webhook-key", b"x" * 32)
    assert routers(challenge=[WEBHOOK]).challenge[0].secret == Secret("x" * 32)


def test_crl_as_pem(compiled, site):
    from cryptography.hazmat.primitives.serialization import Encoding

    text = x509.load_der_x509_crl((site / "factory.crl").read_bytes()).public_bytes(Encoding.PEM)
    (site / "factory.crl").write_bytes(text)
    tables = gated()
    tables["profile"]["routers"]["client_certificate"] = {**GATE, "crl": "factory.crl"}
    assert compiled(tables).warnings == ()


# Blocked keys


def test_S28_blocked_keys_are_read_when_the_configuration_is(compiled, site):
    (site / "more.txt").write_bytes(b"2" * 64 + b"\n")
    tables = base()
    tables["appliance"]["blocked_keys"] = ["blocked-keys.txt", "more.txt"]
    settings = compiled(tables)
    assert len(settings.blocked_keys) == 3
    assert restore(dump(settings)) == settings
    assert compiled(base()).blocked_keys is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"0" * 64 + b"\nnonsense\n", "line 2"),
        (b"# nothing\n", "lists no key"),
        (b"\xff\n", "line 1"),
        (None, "does not exist"),
        (b"#" * (16 * 1024 * 1024 + 1), "longer than 16 MiB"),
    ],
)
def test_S28_a_block_list_that_is_none_is_told(problem_of, site, content, words):
    if content is not None:
        (site / "list.txt").write_bytes(content)
    tables = base()
    tables["appliance"]["blocked_keys"] = ["blocked-keys.txt", "list.txt"]
    path, reason = problem_of(tables)
    assert (path, words in reason) == ("appliance.blocked_keys[1]", True), reason
