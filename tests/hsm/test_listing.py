"""Listings, against pkcs11-tool's own words."""

import re
import subprocess

from scepd.hsm.listing import list_keys, list_mechanisms, list_tokens
from scepd.hsm.uri import parse_uri

from .tokens import PIN, SOFTHSM


def pkcs11_tool(*arguments: str) -> str:
    command = ["pkcs11-tool", "--module", SOFTHSM, "--token-label", "test", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_keys_are_described_in_the_words_of_pkcs11_tool(bench):
    told = pkcs11_tool("--login", "--pin", PIN, "--list-objects", "--type", "privkey")
    blocks = {
        re.search(r"label: +(\S+)", block)[1]: {
            "id": re.search(r"ID: +(\w+)", block)[1],
            "usage": re.search(r"Usage: +(.+)", block)[1],
            "access": re.search(r"Access: +(.+)", block)[1],
        }
        for block in told.split("Private Key Object")[1:]
    }
    rows = {row.label: row for row in list_keys(bench.token.session())}
    assert set(rows) == set(blocks) == {"ca", "ra-sign", "ra-decrypt"}
    for label, row in rows.items():
        assert row.id == blocks[label]["id"]
        assert ", ".join(row.usage) == blocks[label]["usage"]
        assert ", ".join(row.access) == blocks[label]["access"]
    assert rows["ra-sign"].kind == "RSA 2048 bits"
    assert rows["ca"].kind == "EC P-256"


def test_a_listed_uri_names_its_key(bench):
    from scepd.hsm.keys import open_signing_key

    rows = {row.label: row for row in list_keys(bench.token.session())}
    open_signing_key(bench.token.session(), parse_uri(rows["ca"].uri), bench.certificates["ca"])


def test_tokens_are_described_in_the_words_of_pkcs11_tool(bench):
    (row,) = list_tokens(bench.module)
    told = pkcs11_tool("--list-token-slots")
    assert row.label == "test"
    assert re.search(r"serial num *: (\w+)", told)[1] == row.serial
    flags = re.search(r"token flags *: (.+)", told)[1].split(", ")
    assert set(row.flags) <= set(flags)
    assert {"login required", "token initialized", "PIN initialized"} <= set(row.flags)


def test_mechanisms_name_what_keys_use(bench):
    assert {"RSA_PKCS", "RSA_X_509", "RSA_PKCS_PSS", "ECDSA"} <= set(list_mechanisms(bench.token.session()))
