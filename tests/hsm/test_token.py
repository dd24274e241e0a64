"""The token and its one login."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import TokenFlag

from scepd.hsm import token as token_module
from scepd.hsm.faults import TokenFault
from scepd.hsm.module import load_module
from scepd.hsm.token import Token, TokenMissing, TokenSettings, find_token
from scepd.records import Secret
from scepd.refusal import OperatorError

from .tokens import LABEL, PIN, SOFTHSM, configure, init_token

ALGORITHM = ec.ECDSA(hashes.SHA256())


def test_S115_closing_a_lanes_session_does_not_log_out(bench):
    key, other = bench.signing("ca"), bench.token.session()
    other.find({})
    other.close()
    other.close()
    key.public_key().verify(key.sign(b"data", ALGORITHM), b"data", ALGORITHM)


def test_S115_opening_the_token_twice_in_a_process_shares_the_login(bench):
    again = Token.open(bench.module, bench.settings, Secret(PIN))
    assert again.session().find({})
    assert bench.token.session().find({})


def test_S121_missing_token_lists_what_is_there(bench):
    slept = []
    with pytest.raises(TokenMissing) as caught:
        Token.open(bench.module, TokenSettings(SOFTHSM, "tset"), Secret(PIN), sleep=slept.append)
    assert "'test'" in caught.value.problem
    assert len(slept) == 3


def test_S121_slots_are_renumbered_and_the_token_is_found(tmp_path):
    configure(tmp_path)
    for label in ("one", "two", "three"):
        init_token(label)
    module = load_module(SOFTHSM)
    serials = {label: find_token(module, TokenSettings(SOFTHSM, label)).serial for label in ("one", "two", "three")}
    assert len(set(serials.values())) == 3
    init_token("four")
    module.reinitialise()
    found = find_token(module, TokenSettings(SOFTHSM, "two", serials["two"].decode()))
    assert found.serial == serials["two"]
    with pytest.raises(TokenMissing):
        find_token(module, TokenSettings(SOFTHSM, "two", serials["one"].decode()))
    module.finalise()


def test_S121_two_tokens_of_one_label_need_a_serial(tmp_path):
    configure(tmp_path)
    init_token("same")
    init_token("same")
    module = load_module(SOFTHSM)
    with pytest.raises(OperatorError) as caught:
        find_token(module, TokenSettings(SOFTHSM, "same"))
    assert caught.value.hint.startswith("serial = ")
    module.finalise()


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_INITIALIZED, "one more wrong PIN"),
        (TokenFlag.USER_PIN_LOCKED | TokenFlag.USER_PIN_INITIALIZED, "is locked"),
        (TokenFlag.TOKEN_INITIALIZED, "no user PIN"),
    ],
)
def test_S117_a_token_near_its_lock_is_left_alone(bench, monkeypatch, flags, word):
    class Near:
        label, serial = LABEL, b"1"

        def open(self, **_options):
            pytest.fail("a login was tried")

    Near.flags = flags
    monkeypatch.setattr(token_module, "find_token", lambda _module, _settings: Near())
    with pytest.raises(OperatorError) as caught:
        Token.open(bench.module, bench.settings, Secret(PIN))
    assert word in caught.value.problem


def test_S116_recover_says_away_while_the_token_is_gone_and_heals_when_it_is_back(bench):
    bench.hide()
    with pytest.raises(TokenFault) as caught:
        bench.token.recover()
    assert caught.value.kind == "device"
    bench.bring_back()
    bench.token.recover()
    key = bench.signing("ca")
    key.public_key().verify(key.sign(b"data", ALGORITHM), b"data", ALGORITHM)
