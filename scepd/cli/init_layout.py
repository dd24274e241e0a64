"""Where the first run puts what it makes, and the configuration that names it all."""

import json
from pathlib import Path

import attrs

from scepd.cli.init_answers import Answers
from scepd.hsm.uri import KeyName

ISSUER = "devices"
CA_LABEL = f"{ISSUER}-ca"
RA_SIGN_LABEL = f"{ISSUER}-ra-sign"
RA_DECRYPT_LABEL = f"{ISSUER}-ra-decrypt"
AUDIT_LABEL = "scepd-audit"

_SERVES = ("scep", "publication")
_CRL = 'crl = { valid = "7d", every = "1d" }'


@attrs.frozen
class Layout:
    """The directories of one installation; everything under one of them, or as Debian has it."""

    configuration: Path
    state: Path
    runtime: Path

    @classmethod
    def under(cls, directory: Path) -> "Layout":
        """Return the layout of an installation in one directory."""
        return cls(directory, directory / "state", directory / "run")

    @classmethod
    def of_the_system(cls) -> "Layout":
        """Return the layout of the machine's own installation."""
        return cls(Path("/etc/scepd"), Path("/var/lib/scepd"), Path("/run/scepd"))

    @property
    def toml(self) -> Path:
        """The configuration: written last, so that it is there only when everything is."""
        return self.configuration / "scepd.toml"

    @property
    def unfinished(self) -> Path:
        """The answers of a first run that is not finished."""
        return self.configuration / "init.unfinished.json"

    @property
    def softhsm2_conf(self) -> Path:
        """SoftHSM's configuration."""
        return self.configuration / "softhsm2.conf"

    @property
    def tokens(self) -> Path:
        """SoftHSM's tokens."""
        return self.state / "tokens"

    @property
    def pin(self) -> Path:
        """The user PIN of a token made here."""
        return self.configuration / "hsm-pin"

    @property
    def so_pin(self) -> Path:
        """The security officer's PIN of a token made here."""
        return self.configuration / "hsm-so-pin"

    @property
    def store_key(self) -> Path:
        """The store key: 32 octets."""
        return self.configuration / "store-key"

    @property
    def tls_key(self) -> Path:
        """The key of the TLS listener."""
        return self.configuration / "tls.key"

    @property
    def tls(self) -> Path:
        """The certificate of the TLS listener."""
        return self.configuration / "tls.pem"

    def certificate(self, label: str) -> Path:
        """Return where the certificate of a key in the token is, or the public key of the audit key."""
        return self.configuration / f"{label}.pem"

    @property
    def products(self) -> tuple[Path, ...]:
        """Everything that the first run writes and never overwrites."""
        labels = (CA_LABEL, RA_SIGN_LABEL, RA_DECRYPT_LABEL, AUDIT_LABEL)
        certificates = tuple(self.certificate(label) for label in labels)
        store = self.state / "scepd.sqlite"
        own = (self.softhsm2_conf, self.tokens, self.pin, self.so_pin, self.store_key, self.tls_key, self.tls, store)
        return (self.toml, *certificates, *own)


def write_configuration(answers: Answers, layout: Layout) -> str:
    """Return the text of scepd.toml."""
    return "\n".join(
        [
            "# Made by `scepd init`. Every key: docs/configuration.md. After a change: scepd check, then scepd reload.",
            *([f"workers = {answers.workers}"] if answers.workers is not None else []),
            "",
            "[appliance]",
            f"name = {quoted(answers.name)}",
            *([f"public_url = {quoted(answers.public_url)}"] if answers.public_url else []),
            f"state = {quoted(layout.state)}",
            f"runtime = {quoted(layout.runtime)}",
            "",
            *_hsm(answers, layout),
            "",
            "[store]",
            f"key = {{ file = {quoted(layout.store_key)} }}  # keep a copy: challenges are worthless without it",
            "",
            "[audit]",
            f"key = {quoted(_uri(answers, AUDIT_LABEL))}",
            f"public_key = {quoted(layout.certificate(AUDIT_LABEL))}  # keep a copy elsewhere: scepd audit verify --key",
            "",
            f"[issuer.{ISSUER}]",
            f"key = {quoted(_uri(answers, CA_LABEL))}",
            f"certificate = {quoted(layout.certificate(CA_LABEL))}",
            f"ra_sign = {_pair(answers, layout, RA_SIGN_LABEL)}",
            f"ra_decrypt = {_pair(answers, layout, RA_DECRYPT_LABEL)}",
            f"{_CRL}  # {_crl_comment(answers)}",
            "",
            *_listeners(answers, layout),
            f"[profile.{answers.profile}]",
            f"issuer = {quoted(ISSUER)}",
            "default = true  # answers /scep and /cgi-bin/pkiclient.exe too",
            'challenge = [{ method = "one-time", valid = "1h" }]',
            'validity = "1y"',
            "",
        ],
    )


def _crl_comment(answers: Answers) -> str:
    if answers.http and (answers.public_url or "").startswith("http://"):
        return "certificates name it by public_url"
    # Relying parties fetch it by plain HTTP from a URL that they can reach, which nobody told us.
    return f'certificates name it where crl_urls = ["http://HOST/crl/{ISSUER}.crl"] says so'


def _pair(answers: Answers, layout: Layout, label: str) -> str:
    return f"{{ key = {quoted(_uri(answers, label))}, certificate = {quoted(layout.certificate(label))} }}"


def _hsm(answers: Answers, layout: Layout) -> list[str]:
    lines = ["[hsm]", f"module = {quoted(answers.module)}", f"token = {quoted(answers.token)}"]
    if answers.environment:
        pairs = ", ".join(f"{name} = {quoted(value)}" for name, value in answers.variables.items())
        lines.append(f"environment = {{ {pairs} }}")
    if answers.pin_file is not None:
        return [*lines, f"pin = {{ file = {quoted(Path(answers.pin_file).absolute())} }}"]
    return [
        *lines,
        f"pin = {{ file = {quoted(layout.pin)} }}",
        f"softhsm2_conf = {quoted(layout.softhsm2_conf)}",
    ]


def _listeners(answers: Answers, layout: Layout) -> list[str]:
    lines: list[str] = []
    serves = f"serves = {_array(_SERVES)}"
    if answers.https:
        tls = f"{{ certificate = {quoted(layout.tls)}, key = {{ file = {quoted(layout.tls_key)} }}, issuer = {quoted(ISSUER)} }}"
        lines += ["[listener.public]", serves, f"address = {_array(answers.https)}", f"tls = {tls}", ""]
    if answers.http:
        lines += ["[listener.plain]", serves, f"address = {_array(answers.http)}", ""]
    else:
        lines += ["# Old routers speak http only:", "# [listener.plain]", '# address = "0.0.0.0:80"', f"# {serves}", ""]
    return lines


def _uri(answers: Answers, label: str) -> str:
    return str(KeyName(label=label, token=answers.token))


def _array(texts: tuple[str, ...]) -> str:
    return "[" + ", ".join(quoted(text) for text in texts) + "]"


def quoted(text: object) -> str:
    """Return a TOML basic string."""
    # A JSON string without \u surrogates is a TOML basic string.
    return json.dumps(str(text), ensure_ascii=False)
