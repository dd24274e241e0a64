"""The tokens on which the live tests run: TOKEN=softhsm2 (as `scepd init` makes it), p11-kit, opencryptoki or tpm2.

A token that is not SoftHSM's is made by the distribution's own tools before `scepd init --module` is told of it; the
daemons that it needs are our children and end with the tests.
"""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import attrs

from tests.daemons import Daemon, isolate, until

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
MODULES = Path("/usr/lib/x86_64-linux-gnu/pkcs11")
LABEL = "scepd"


def call(*command, text="", **environment):
    """Run a tool of the distribution; its output is shown when it fails."""
    done = subprocess.run(
        [str(part) for part in command], input=text, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_pins(directory, octets=8):
    """Make the PINs of a token and keep them beside what else is the token's."""
    pins, place = [], directory / "hsm"
    place.mkdir(mode=0o700, parents=True)
    for name in ("hsm-pin", "hsm-so-pin"):
        path = place / name
        path.write_text(secrets.token_hex(octets) + "\n")
        path.chmod(0o600)
        pins.append(path.read_text().strip())
    return pins


@attrs.frozen
class Made:
    """A token that exists: what must be known to use it."""

    module: Path
    label: str
    pin_file: Path
    environment: dict

    @property
    def options(self):
        """What `scepd init` is told of it."""
        pairs = [part for name, value in self.environment.items() for part in ("--environment", f"{name}={value}")]
        return ("--module", str(self.module), "--token", self.label, "--pin-file", str(self.pin_file), *pairs)


def write_softhsm(directory, tokens):
    """Write the softhsm2.conf of a directory."""
    tokens.mkdir(parents=True, exist_ok=True)
    conf = directory / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return conf


@attrs.define
class SoftHsm:
    """SoftHSM's own library: `scepd init` makes the token; it goes away with its directory."""

    name: str = "softhsm2"
    workers: int = 2
    elliptic: bool = True
    largest: int = 4096  # bits of the largest RSA key that is worth waiting for
    lanes: int = 2  # that its module allows in one process
    slowness: int = 1  # about how many times longer an enrolment takes than on SoftHSM

    def make(self, _directory):
        """Return the token made for a directory; this one is left to `scepd init`: nothing is returned."""

    def _made(self, module, directory, label=LABEL):
        return Made(MODULES / module, label, directory / "hsm" / "hsm-pin", self.environment(directory))

    def pins(self, directory):
        """The directory of `hsm-pin` and `hsm-so-pin`."""
        return directory if (directory / "hsm-pin").exists() else directory / "hsm"

    def copy(self, old, new):
        """Let the copied configuration of SoftHSM name the copied tokens."""
        conf = new / "softhsm2.conf"
        conf.write_text(conf.read_text().replace(str(old), str(new)))

    def environment(self, directory):
        """What a tool must have in its environment to see the token."""
        return {"SOFTHSM2_CONF": str(directory / "softhsm2.conf")}

    def hide(self, directory):
        """Take the token away."""
        (directory / "state" / "tokens").rename(directory / "state" / "tokens.away")

    def bring_back(self, directory):
        """Put the token in its place again."""
        (directory / "state" / "tokens.away").rename(directory / "state" / "tokens")


@attrs.define
class P11Kit(SoftHsm):
    """SoftHSM in another process behind p11-kit's socket, as a network HSM: it goes away with its server."""

    name: str = "p11-kit"
    servers: dict = attrs.field(factory=dict)

    def make(self, directory):
        """Make a token and serve it."""
        pin, so_pin = write_pins(directory)
        conf = write_softhsm(directory / "hsm", directory / "hsm" / "tokens")
        call(
            "softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", pin, "--so-pin", so_pin,
            SOFTHSM2_CONF=str(conf),
        )  # fmt: skip
        self.bring_back(directory)
        return self._made("p11-kit-client.so", directory)

    def copy(self, _old, new):
        """Serve the copied token from a server of its own."""
        write_softhsm(new / "hsm", new / "hsm" / "tokens")
        self.bring_back(new)

    def environment(self, directory):
        """Where the server listens."""
        return {"P11_KIT_SERVER_ADDRESS": f"unix:path={directory / 'hsm' / 'socket'}"}

    def hide(self, directory):
        """Kill the server with all its connections."""
        self.servers.pop(directory).kill()

    def bring_back(self, directory):
        """Start the server."""
        socket = directory / "hsm" / "socket"
        socket.unlink(missing_ok=True)
        self.servers[directory] = Daemon.start(
            "p11-kit", "server", "--foreground", "--name", socket, "--provider", SOFTHSM, f"pkcs11:token={LABEL}",
            log=directory / "hsm" / "server.log", SOFTHSM2_CONF=str(directory / "hsm" / "softhsm2.conf"),
        )  # fmt: skip
        until(socket.exists, "p11-kit server")


@attrs.define
class OpenCryptoki(SoftHsm):
    """openCryptoki's soft token behind its slot daemon, in a mount namespace of our own; copies share one token."""

    name: str = "opencryptoki"
    elliptic: bool = False  # Debian's soft token has no CKM_EC_KEY_PAIR_GEN
    slots: int = 6
    used: int = 0
    daemon: Daemon | None = None
    place: Path | None = None

    def make(self, directory):
        """Make a token in the next free slot."""
        if self.place is None:
            self._found()
        number, self.used = self.used, self.used + 1
        assert number < self.slots, "more tokens than slots"
        label = f"{LABEL}-{number}" if number else LABEL
        pin, so_pin = write_pins(directory, 4)  # the soft token takes 4 to 8 characters
        call("pkcsconf", "-I", "-c", number, text=f"87654321\n{label}\n")
        call("pkcsconf", "-P", "-c", number, "-S", "87654321", "-n", so_pin)
        call("pkcsconf", "-u", "-c", number, "-S", so_pin, "-n", pin)
        return self._made("libopencryptoki.so", directory, label)

    def copy(self, _old, _new):
        """Share the token: there is no second place for its files."""

    def environment(self, _directory):
        """Nothing: its places are compiled in."""
        return {}

    def hide(self, _directory):
        """Stop the slot daemon, and let its files go."""
        self.daemon.kill()

    def bring_back(self, _directory):
        """Start the slot daemon."""
        self.daemon = Daemon.start("pkcsslotd", "-f", log=self.place / "daemon.log")
        until(lambda: "SoftTok" in call_quietly("pkcsconf", "-t"), "pkcsslotd")

    def _found(self):
        self.place = scratch("scepd-opencryptoki-")
        names = [f"soft{number}" for number in range(self.slots)]
        isolate(
            self.place, "/var/lib/opencryptoki", "/etc/opencryptoki", "/var/log/opencryptoki", "/run", "/dev/shm",
        )  # fmt: skip
        for name in names:
            for path in (Path("/var/lib/opencryptoki", name, "TOK_OBJ"), Path("/run/lock/opencryptoki", name)):
                path.mkdir(parents=True)
                for part in (path, path.parent):
                    shutil.chown(part, "root", "pkcs11")
                    part.chmod(0o770)
        slots = "".join(
            f"slot {number}\n{{\nstdll = libpkcs11_sw.so\ntokname = {name}\n}}\n" for number, name in enumerate(names)
        )
        Path("/etc/opencryptoki/opencryptoki.conf").write_text(f"version opencryptoki-3.1\n{slots}")
        self.bring_back(None)


@attrs.define
class Tpm2(SoftHsm):
    """tpm2-pkcs11 over a software TPM and its resource manager; a copied store is a copied token."""

    name: str = "tpm2"
    largest: int = 2048
    lanes: int = 1
    slowness: int = 10
    place: Path | None = None
    tpm: Daemon | None = None
    manager: Daemon | None = None
    bus: str = ""

    def make(self, directory):
        """Make a store with one token in it."""
        if self.place is None:
            self._found()
        pin, so_pin = write_pins(directory)
        (directory / "hsm" / "tpm2").mkdir()
        environment = self.environment(directory)
        call("tpm2_ptool", "init", **environment, TPM2TOOLS_TCTI="tabrmd:bus_type=session")
        call(
            "tpm2_ptool", "addtoken", "--pid", 1, "--sopin", so_pin, "--userpin", pin, "--label", LABEL,
            **environment, TPM2TOOLS_TCTI="tabrmd:bus_type=session",
        )  # fmt: skip
        return self._made("libtpm2_pkcs11.so", directory)

    def copy(self, _old, _new):
        """Nothing more: the store was copied, and the TPM unwraps what is in it."""

    def environment(self, directory):
        """Store and TPM."""
        return {
            "TPM2_PKCS11_STORE": str(directory / "hsm" / "tpm2"),
            "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
            "DBUS_SESSION_BUS_ADDRESS": self.bus,
            "TPM2_PKCS11_LOG_LEVEL": "0",
        }

    def hide(self, _directory):
        """Kill the resource manager."""
        self.manager.kill()

    def bring_back(self, _directory):
        """Start the resource manager."""
        self.manager = Daemon.start(
            "tpm2-abrmd", "--session", "--allow-root", f"--tcti=swtpm:path={self.place / 'tpm'}",
            log=self.place / "manager.log", DBUS_SESSION_BUS_ADDRESS=self.bus,
        )  # fmt: skip
        until(lambda: "com.intel.tss2.Tabrmd" in self._bus_names(), "tpm2-abrmd")

    def _bus_names(self):
        return call_quietly(
            "dbus-send", f"--bus={self.bus}", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus",
            "org.freedesktop.DBus.ListNames",
        )  # fmt: skip

    def _found(self):
        self.place = scratch("scepd-tpm2-")
        (self.place / "state").mkdir()
        self.bus = f"unix:path={self.place / 'bus'}"
        Daemon.start("dbus-daemon", "--session", "--nofork", f"--address={self.bus}", log=self.place / "bus.log")
        until((self.place / "bus").exists, "dbus-daemon")
        self.tpm = Daemon.start(
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.place / 'state'}", "--server",
            f"type=unixio,path={self.place / 'tpm'}", "--ctrl", f"type=unixio,path={self.place / 'tpm.ctrl'}",
            "--flags", "not-need-init,startup-clear", log=self.place / "tpm.log",
        )  # fmt: skip
        until((self.place / "tpm.ctrl").exists, "swtpm")
        self.bring_back(None)
        # A TPM counts wrong PINs of all its tokens together, and after three of them it refuses every one for 1,000 s.
        call(
            "tpm2_dictionarylockout", "--setup-parameters", "--max-tries=1000", "--recovery-time=1",
            "--lockout-recovery-time=1", TPM2TOOLS_TCTI="tabrmd:bus_type=session", DBUS_SESSION_BUS_ADDRESS=self.bus,
        )  # fmt: skip


def scratch(prefix):
    """A short directory that goes with this process."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def call_quietly(*command):
    """Return what a tool prints, whatever it thinks of it."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout


KINDS = {kind().name: kind for kind in (SoftHsm, P11Kit, OpenCryptoki, Tpm2)}
CHOSEN = KINDS[os.environ.get("TOKEN") or "softhsm2"]()
