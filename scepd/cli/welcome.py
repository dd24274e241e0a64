"""`scepd run --welcome`: start the service as a child, wait until it is ready, say how to enrol, wait for its end."""

import ctypes
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import click

from scepd.app import service
from scepd.ca.ceremony import Fingerprints
from scepd.cli.desk import ask
from scepd.config.settings import Settings
from scepd.profile.model import OneTimeRule
from scepd.refusal import OperatorError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_EVERY = 0.2  # seconds
_LONGEST_START = 900.0  # seconds; the supervisor gives up before that


def serve_and_welcome(command: Sequence[str], settings: Settings, config: Path) -> int:
    """Run the service until it ends and return its exit status; SIGINT and SIGTERM are handed on to it."""
    _refuse_second(settings)
    # A session of its own: Ctrl-C reaches it once, through us; and it does not outlive us.
    child = subprocess.Popen(  # noqa: S603 - our own program
        command,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - there is one thread
    )

    asked_to_stop = False

    def hand_on(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = asked_to_stop or number != signal.SIGHUP
        if child.poll() is None:
            child.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    status = _wait_until_ready(child, settings)
    if status is not None:
        try:
            click.echo(_welcome(settings, config, status))
        except (OperatorError, click.ClickException) as error:
            click.echo(f"it serves, but no challenge could be made: {error}", err=True)
        sys.stdout.flush()
    code = child.wait()
    # twistd ends itself with the very signal once everything is in order.
    return 0 if asked_to_stop and code == -signal.SIGTERM else _status_of(code)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _refuse_second(settings: Settings) -> None:
    try:
        service.status(settings.appliance.runtime)
    except service.NotRunning:
        return
    raise OperatorError(f"another scepd runs at {settings.appliance.runtime}", "scepd status; scepd stop")


def _wait_until_ready(child: subprocess.Popen[bytes], settings: Settings) -> dict[str, Any] | None:
    """Return the service's status when it is ready, None when it ended before."""
    deadline = time.monotonic() + _LONGEST_START
    while child.poll() is None and time.monotonic() < deadline:
        try:
            status = service.status(settings.appliance.runtime)
        except (OperatorError, OSError, ValueError):
            status = {}
        if status.get("ready"):
            return status
        time.sleep(_LOOK_EVERY)
    return None


def _status_of(code: int) -> int:
    return code if code >= 0 else 128 - code


def _welcome(settings: Settings, config: Path, status: dict[str, Any]) -> str:
    """Return the words: where it serves, the CA's fingerprints, and the command that enrols a first device."""
    profile = settings.default_profile
    urls = _urls(settings, status)
    found = Fingerprints.of(settings.issuer[profile.issuer].certificate_der)
    lines = ["", "scepd serves", ""]
    lines += [f"  {'SCEP' if index == 0 else '':<9} {url}" for index, url in enumerate(urls)]
    lines += [
        "",
        f"  {'CA':<9} SHA-256  {found.sha256}",
        f"  {'':<9} SHA-1    {found.sha1}",
        f"  {'':<9} MD5      {found.md5}",
    ]
    if urls and any(isinstance(rule, OneTimeRule) for rule in profile.challenge):
        command = _first_enrolment(settings, config, urls[0], found.sha256)
        lines += ["", "  Enrol a first device, in another terminal:", "", command]
    return "\n".join([*lines, ""])


def _urls(settings: Settings, status: dict[str, Any]) -> list[str]:
    """Return the SCEP URLs of the default profile, as clients on this machine reach them; plain ones first."""
    urls = []
    for listener in status.get("listeners", ()):
        host = str(listener["host"])
        if ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        scheme = "https" if listener.get("tls") else "http"
        urls.append(f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener['port']}/scep")
    if settings.appliance.public_url:
        urls.append(f"{settings.appliance.public_url}/scep")
    return sorted(dict.fromkeys(urls), key=lambda url: url.startswith("https"))


def _first_enrolment(settings: Settings, config: Path, url: str, fingerprint: str) -> str:
    """Return the command line that enrols a device of a fresh name with a fresh challenge bound to it."""
    device = f"first-device-{secrets.token_hex(3)}"
    body = {"profile": settings.default_profile.name, "cn": device}
    challenge = ask(config, "POST", "/api/v1/challenges", body)[0]["challenge"]
    command = [_program(), "client", "enroll", "--url", url, "--challenge", challenge, "--fingerprint", fingerprint]
    if url.startswith("https"):
        issuer = settings.issuer[settings.default_profile.issuer]
        command += ["--ca-file", str(config.with_name(f"{issuer.name}-ca.pem"))]
    out = config.with_name(f"{device}.pem")
    return shlex.join([*command, "--cn", device, "--key", str(out.with_suffix(".key")), "--out", str(out)])


def _program() -> str:
    """Return how this program was called, in a form that works in another directory."""
    called = Path(sys.argv[0])
    return str(called.absolute()) if called.name == "scepd" and called.exists() else "scepd"
