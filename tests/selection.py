"""Which tests are about one token alone: `make live TOKEN=...` loads this plugin, which says what it leaves out and why."""

from tests.tokens import CHOSEN

_ON_SOFTHSM = ("softhsm2",)
_NOT_ON_TPM = ("softhsm2", "p11-kit", "opencryptoki")
_NOT_ON_OPENCRYPTOKI = ("softhsm2", "p11-kit", "tpm2")
_NO_EC = "Debian's openCryptoki has no EC keys"
_HASHES = "a TPM's signing key takes data, no digest of ours, and no MD5"
_CALLS = "expects SoftHSM's own mechanisms"

# Where a test's name begins and, after a *, ends; the tokens that it is for; why.
RULES = (
    ("test_first_run.py", _ON_SOFTHSM, "scepd init makes tokens in SoftHSM only"),
    ("test_wheel.py", _ON_SOFTHSM, "an installed wheel's first run makes its token in SoftHSM"),
    ("test_faults.py::test_token_away_and_back", _NOT_ON_OPENCRYPTOKI, "its soft token works on without its daemon"),
    ("test_broken_token.py", _ON_SOFTHSM, "its module stands before SoftHSM; what it breaks is ours, not the token's"),
    ("test_rollover.py*[ec]", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_registration.py::test_C267", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_registration.py::test_N7_with_an_ec_ra_key", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_key.py::test_ec_key_signs[token", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_signing.py::test_builders_sign_in_the_token", ("softhsm2", "p11-kit"), _CALLS),
    ("test_signing.py::test_every_digest_verifies[algorithm0]", _NOT_ON_TPM, _HASHES),
    ("test_signing.py::test_every_digest_verifies[algorithm", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_signing.py::test_signing_keys_are_of", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_signing.py::test_S16_signing_keys_do_nothing_else", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    (
        "test_signing.py::test_S116_a_module_that_lost_its_initialisation",
        ("softhsm2", "opencryptoki", "tpm2"),
        "its client is initialised through python-pkcs11 alone",
    ),
    ("test_signing.py::test_prehashed", _NOT_ON_TPM, _HASHES),
    ("test_signing.py::test_S110*[v1.5 over a digest]", _NOT_ON_TPM, _HASHES),
    ("test_signing.py::test_S110*[ECDSA]", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_signing.py::test_S110*[ECDSA over a digest]", _NOT_ON_OPENCRYPTOKI, _NO_EC),
    ("test_signing.py::test_pss_verifies[0]", _NOT_ON_TPM, "a TPM's PSS has a salt as long as its digest"),
    ("test_signing.py::test_pss_verifies[20]", _NOT_ON_TPM, "a TPM's PSS has a salt as long as its digest"),
    ("test_signing.py::test_pss_verifies[salt3]", _NOT_ON_TPM, "a TPM's PSS has a salt as long as its digest"),
    ("test_decryption.py::test_transports_are_what_the_token_can", ("softhsm2", "p11-kit"), _CALLS),
    (
        "test_decryption.py::test_S10_S11_same_token_calls*[CKM_RSA_PKCS]",
        _NOT_ON_TPM,
        "after bad padding its library keeps the operation open; raw RSA is used there",
    ),
)


def pytest_collection_modifyitems(config, items):
    """Take out what is not about the chosen token, and say so."""
    left = [(item, reason) for item in items if (reason := reason_against(CHOSEN.name, item.nodeid.rpartition("/")[2]))]
    gone = [item for item, _ in left]
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=gone)
    for item, reason in left:
        print(f"not on {CHOSEN.name}: {item.nodeid}: {reason}")


def reason_against(token, name):
    """Return why a test is not for a token, None where it is."""
    for pattern, tokens, reason in RULES:
        beginning, _, end = pattern.partition("*")
        if token not in tokens and name.startswith(beginning) and name.endswith(end):
            return reason
    return None
