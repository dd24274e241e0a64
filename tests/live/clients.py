"""The real clients, each as one function: enrol, renew or wait; return the certificate or what the client said."""

import os
import shutil
import subprocess
from pathlib import Path

import attrs

from tests.live.server import run


@attrs.frozen
class Result:
    """What a client came back with: the PEM file of its certificate, or None and its words."""

    certificate: object
    key: object
    words: str


def _result(certificate, key, words):
    got = certificate.exists() and b"BEGIN CERTIFICATE" in certificate.read_bytes()
    return Result(certificate if got else None, key, words)


def scepclient(url, directory, challenge, *, cn="scepclient"):
    """Debian's scepclient: SHA-1 and single DES, whatever is advertised; POST; envelopes for every certificate."""
    done = run(
        "scepclient", "-server-url", url, "-challenge", challenge, "-cn", cn,
        "-private-key", directory / "key.pem", "-certificate", directory / "cert.pem", check=False,
    )  # fmt: skip
    return _result(directory / "cert.pem", directory / "key.pem", done.stdout + done.stderr)


def trusting(url, directory, ca):
    """The beginning of a command in whose mount namespace libcurl trusts this CA alone (it knows no option for it)."""
    if not url.startswith("https:"):
        return []
    mount = f'mount --bind {ca} /etc/ssl/certs/ca-certificates.crt && exec "$@"'
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", mount, "sh"]


def strongswan(url, directory, challenge, *, ca, cn="moon", options=()):
    """Debian's `pki --scepca` and `pki --scep`."""
    trust = trusting(url, directory, ca)
    run(*trust, "pki", "--scepca", "--url", url, "--caout", directory / "ca.der", "--raout", directory / "ra.der")
    return _strongswan(trust, url, directory, ("key.pem", "cert.pem"), cn, ("--password", challenge, *options))


def strongswan_renews(url, directory, *, ca, cn="moon", options=()):
    """`pki --scep` once more in the same directory: a new key, the old certificate and key as the credential."""
    old = ("--cert", directory / "cert.pem", "--key", directory / "key.pem")
    return _strongswan(
        trusting(url, directory, ca), url, directory, ("new-key.pem", "new-cert.pem"), cn, (*old, *options)
    )


def _strongswan(trust, url, directory, files, cn, options):
    key, certificate = files
    usages = {
        path: run("openssl", "x509", "-inform", "der", "-in", path, "-noout", "-ext", "keyUsage").stdout
        for path in (*sorted(directory.glob("ra*.der")), directory / "ca.der")  # the CA last: it may be its own RA
    }
    encryption = next(path for path, usage in usages.items() if "Key Encipherment" in usage)
    signature = next(path for path, usage in usages.items() if "Digital Signature" in usage)
    with (directory / key).open("wb") as file:
        subprocess.run(
            ["pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem"],
            stdout=file,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    done = run(
        *trust, "pki", "--scep", "--url", url, "--in", directory / key, "--dn", f"C=CH, O=strongSwan, CN={cn}",
        "--cacert-enc", encryption, "--cacert-sig", signature, "--cacert", directory / "ca.der", "--outform", "pem",
        *options, check=False,
    )  # fmt: skip
    (directory / certificate).write_text(done.stdout)
    return _result(directory / certificate, directory / key, done.stderr)


# The session bus starts certmonger at the first call and ends it with itself.
CERTMONGER = """
getcert add-scep-ca -s -c scepd -u {url} {authorities}
for try in $(seq 100); do getcert list-cas -s -c scepd -v | grep -q "CA certificate" && break; sleep 0.1; done
getcert request -s -c scepd -f {directory}/cert.pem -k {directory}/key.pem -g 2048 -N "CN={cn}" -L "{challenge}" -I one -w --wait-timeout {wait}
{then}
getcert list -s
"""

# Both keep what was there before as before.pem.
CERTMONGER_RENEWS = """
cp {directory}/cert.pem {directory}/before.pem
getcert resubmit -s -i one -w --wait-timeout 25
"""
CERTMONGER_REKEYS = """
cp {directory}/cert.pem {directory}/before.pem
getcert rekey -s -i one -w --wait-timeout 25
"""
CERTMONGER_POLLS = """
for try in $(seq 100); do getcert refresh -s -i one; getcert list -s | grep -q MONITORING && break; sleep 0.3; done
"""


def certmonger(url, directory, challenge, *, ca, cn="certmonger", wait=25, then=""):
    """Debian's certmonger on a private session bus: GET only, AES-256, 77-digit transactionIDs; `then` is more of the script."""
    for name in ("requests", "cas", "config", "local"):
        (directory / name).mkdir()
    # It demands -R for https, verifies GetCACaps by it, and asks the system's list for the other operations.
    authorities = f"-R {ca}" if url.startswith("https:") else ""
    script = directory / "certmonger.sh"
    script.write_text(
        CERTMONGER.format(
            directory=directory,
            url=url,
            challenge=challenge,
            cn=cn,
            authorities=authorities,
            wait=wait,
            then=then.format(directory=directory),
        )
    )
    environment = {
        **os.environ,
        "CERTMONGER_REQUESTS_DIR": str(directory / "requests"),
        "CERTMONGER_CAS_DIR": str(directory / "cas"),
        "CERTMONGER_CONFIG_DIR": str(directory / "config"),
        "CERTMONGER_LOCAL_CA_DIR": str(directory / "local"),
        "CERTMONGER_TMPDIR": str(directory),
    }
    done = run(
        *trusting(url, directory, ca),
        "dbus-run-session",
        "--",
        "bash",
        script,
        check=False,
        timeout=90,
        env=environment,
    )
    return _result(directory / "cert.pem", directory / "key.pem", done.stdout + done.stderr)


def openssl(url, directory, challenge, *, cn="openssl"):
    """A request made with nothing but the openssl command, carried by curl."""
    done = _openssl("enroll", url, directory, challenge, cn)
    return _result(directory / "cert.pem", directory / "key.pem", done.stdout + done.stderr)


def openssl_polls(url, directory):
    """CertPoll for what `openssl` asked for in that directory."""
    done = _openssl("poll", url, directory)
    return _result(directory / "cert.pem", directory / "key.pem", done.stdout + done.stderr)


def openssl_renews(url, directory):
    """RenewalReq with the certificate of that directory."""
    done = _openssl("renew", url, directory)
    return _result(directory / "new-cert.pem", directory / "new-key.pem", done.stdout + done.stderr)


def _openssl(*arguments):
    return run("sh", Path(__file__).with_name("openssl_client.sh"), *arguments, check=False)


def available():
    """The programs that must be there; a missing one fails the suite."""
    programs = ("scepclient", "pki", "certmonger", "getcert", "openssl", "curl", "dbus-run-session", "unshare")
    return {name: shutil.which(name) for name in programs}
