"""`python -m tests.founding CONFIG KIND`: give the issuer of an installation another RA; a process of its own for the token.

KIND `ca`: a new CA that is its own RA; `both`: one RA key with both roles; `sign`: an EC RA key that cannot decrypt.
"""

import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scepd.app.gateway import token_settings
from scepd.ca.ceremony import Ceremony
from scepd.cli.configured import load_settings
from scepd.cli.init_ceremony import made_once
from scepd.config.pin import read_pin
from scepd.hsm.attributes import KeyRules
from scepd.hsm.generate import generate_ec, generate_rsa
from scepd.hsm.keys import KeyName, Opening, open_signing_key, parse_uri, signing_key_for
from scepd.hsm.module import load_module
from scepd.hsm.token import Token
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.names import from_text

ROOT = Path(__file__).parent.parent


def found(config, kind):
    """Do it in a process of its own and change the configuration."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.founding", str(config), kind],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    pem, label = config.parent / "single.pem", f"single-{kind}"
    key = f"pkcs11:token={tomllib.loads(config.read_text())['hsm']['token']};object={label}"
    pair = f'{{ key = "{key}", certificate = "{pem}" }}'
    lines = {
        "ca": [f'key = "{key}"', f'certificate = "{pem}"', "insecurely_ca_is_ra = true"],
        "both": [f"ra = {pair}"],
        "sign": [f"ra_sign = {pair}"],
    }[kind]
    gone = ("ra_sign", "ra_decrypt", *(("key = ", "certificate = ") if kind == "ca" else ()))
    head, mark, rest = config.read_text().partition("[issuer.devices]\n")
    table, _, after = rest.partition("\n[")
    if kind == "ca":  # the certificate of the listener stays the first CA's, who is an issuer no more
        after = after.replace(', issuer = "devices" }', " }")
    kept = [line for line in table.splitlines() if not line.startswith(gone)]
    config.write_text(head + mark + "\n".join([*lines, *kept]) + "\n\n[" + after)


def main(config, kind):
    """Make the key and its certificate, single.pem beside the configuration."""
    settings = load_settings(config)
    token = Token.open(load_module(str(settings.hsm.module)), token_settings(settings.hsm), read_pin(settings.hsm.pin))
    session, now = token.session(writable=True), datetime.now(UTC)
    label = f"single-{kind}"
    public = generate_ec(session, label, "P-256") if kind == "sign" else generate_rsa(session, label, 2048, "both")
    if kind == "ca":
        rules = Opening(rules=KeyRules(both_roles=True))
        ceremony = Ceremony(signing_key_for(session, KeyName(label=label), public, rules), now, os.urandom)

        def make():
            return ceremony.found_ca(from_text("CN=Single CA"), timedelta(days=3650), transport=True)
    else:
        issuer = settings.issuers[0]
        ca_key = open_signing_key(session, parse_uri(issuer.key), issuer.certificate_der)
        certificate = IssuerCertificate.load(issuer.certificate_der)

        def make():
            return Ceremony(ca_key, now, os.urandom).certify_ra(certificate, from_text("CN=Single RA"), public, kind)

    made_once(config.parent / "single.pem", public, make)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
