"""Reading the configuration: the file, what it includes, and everything that is wrong, in one go."""

import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from scepd.config.audit import AuditSection, compile_audit
from scepd.config.compile import compile_appliance, compile_hsm, compile_settings, compile_store
from scepd.config.files import read_trusted
from scepd.config.inventory import Inventory
from scepd.config.issuers import IssuerCompiler, published_at
from scepd.config.listeners import compile_listeners
from scepd.config.secret import Surroundings
from scepd.config.sections import ApplianceSection, HsmSection, IssuerSection, ListenerSection, StoreSection
from scepd.config.settings import Appliance, Premises, Settings
from scepd.config.structure import read_section
from scepd.problems import ConfigurationError, Place, Refused
from scepd.x509.certificate import Locations

DEFAULT_PATH = Path("/etc/scepd/scepd.toml")

# Tables whose entries may be spread over files; any other key belongs to one file.
_SPREAD = frozenset({"issuer", "listener", "profile", "tenant"})


def find_configuration(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration file: what the command line says, else SCEPD_CONFIG, else /etc/scepd/scepd.toml."""
    return (given or Path(environ.get("SCEPD_CONFIG") or DEFAULT_PATH)).absolute()


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
    cores: int | None = None,
) -> Settings:
    """Return the compiled settings of a configuration file.

    Raises `ConfigurationError` with every problem of every file, key and certificate; no key, token, network or
    store is touched. The keywords stand in for the environment, the clock and the machine.
    """
    surroundings, source = _open(path, environ, now, cores)
    settings = compile_settings(source.tables, surroundings, source.place)
    source.refuse_problems()
    assert settings is not None  # only a problem keeps them from being made
    return settings


def load_inventory(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Inventory:
    """Return the compiled settings with every file that they were made of; raises as `load` does."""
    surroundings, source = _open(path, environ, None, None)
    settings = compile_settings(source.tables, surroundings, source.place)
    source.refuse_problems()
    assert settings is not None  # only a problem keeps them from being made
    return Inventory.of(settings, source.read, surroundings)


def load_appliance(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Appliance:
    """Return the [appliance] table alone, for commands that only need to find the running service.

    Raises `ConfigurationError` where that table or its file cannot be read; faults elsewhere do not matter here.
    """
    surroundings, source = _open(path, environ, None, None)
    appliance = _read_appliance(surroundings, source)
    source.refuse_problems()
    return appliance


def load_premises(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Premises:
    """Return the tables [appliance], [hsm], [store] and [audit] alone, for commands that make or look at keys.

    Raises `ConfigurationError` for faults in them; issuers that wait for their keys do not matter here.
    """
    surroundings, source = _open(path, environ, None, None)
    tables, place = source.tables, source.place
    appliance = _read_appliance(surroundings, source)
    hsm_section = read_section(HsmSection, tables.get("hsm", {}), place / "hsm")
    store_section = read_section(StoreSection, tables.get("store", {}), place / "store")
    hsm = compile_hsm(hsm_section, surroundings, place / "hsm")
    store = compile_store(store_section, appliance.state, surroundings, place / "store")
    audit_section = read_section(AuditSection, tables["audit"], place / "audit") if "audit" in tables else None
    audit = compile_audit(audit_section, appliance.state, surroundings, place / "audit")
    source.refuse_problems()
    assert hsm is not None  # only a problem keeps them from being made
    assert store is not None
    return Premises(appliance, hsm, store, audit)


def load_locations(path: Path | None, issuer: str, *, environ: Mapping[str, str] | None = None) -> Locations:
    """Return where the certificates of an issuer say that what it publishes is found.

    Raises `ConfigurationError` for faults in [appliance] and in the lines of that issuer; keys and certificates that
    are still to be made do not matter here, nor what is wrong with listeners.
    """
    surroundings, source = _open(path, environ, None, None)
    tables, place = source.tables, source.place / "issuer" / issuer
    appliance = _read_appliance(surroundings, source)
    section = read_section(IssuerSection, tables.get("issuer", {}).get(issuer, {}), place)
    source.refuse_problems()
    listeners = {name: read_section(ListenerSection, one, Place()) for name, one in tables.get("listener", {}).items()}
    plain = {name: one for name, one in listeners.items() if one.tls is None}
    published = published_at(appliance, compile_listeners(plain, surroundings, Place()))
    return IssuerCompiler(surroundings, published, place).locations(issuer, section)


def _read_appliance(surroundings: Surroundings, source: "_Source") -> Appliance:
    place = source.place / "appliance"
    section = read_section(ApplianceSection, source.tables.get("appliance", {}), place)
    return compile_appliance(section, surroundings, place)


@attrs.define
class _Source:
    """The tables of all files together, which file holds which, and the problems so far."""

    place: Place = attrs.field(factory=Place)
    tables: dict[str, Any] = attrs.field(factory=dict)
    files: dict[tuple[str | int, ...], Path] = attrs.field(factory=dict)
    read: list[Path] = attrs.field(factory=list)  # each file, the first one first

    def refuse_problems(self) -> None:
        """Raise `ConfigurationError` with every problem so far, if there is one."""
        problems = self.place.problems(self.files)
        if problems:
            raise ConfigurationError(problems)


def _open(
    path: Path | None,
    environ: Mapping[str, str] | None,
    now: datetime | None,
    cores: int | None,
) -> tuple[Surroundings, _Source]:
    environ = os.environ if environ is None else environ
    path = find_configuration(path, environ)
    source = _Source()
    source.files[()] = path
    main = _parse(path, source)
    if main is None:
        # Nothing was read, so nothing else can be said.
        raise ConfigurationError(source.place.problems(source.files))
    _add(main, path, source)
    for included in _find_included(source.tables.pop("include", []), path.parent, source.place / "include"):
        _include(included, source)
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    return Surroundings(path.parent, environ, now or datetime.now(UTC), cores), source


def _parse(path: Path, source: _Source) -> dict[str, Any] | None:
    place = source.place
    source.read.append(path)
    try:
        return tomllib.loads(read_trusted(path).decode("utf-8"))
    except Refused as refused:
        place.refuse(refused)
    except UnicodeDecodeError as fault:
        place.problem(f"{path} is not UTF-8 (octet {fault.start})", f"iconv -f latin1 -t utf-8 {path}")
    except tomllib.TOMLDecodeError as fault:
        place.problem(f"{path} is no TOML: {fault}", "a key stands once in a table, texts stand in quotation marks")
    except RecursionError:
        place.problem(f"{path} is nested too deeply", "write the tables as in the example etc/scepd.toml")
    return None


def _include(path: Path, source: _Source) -> None:
    tables = _parse(path, source)
    if tables is None:
        return
    if "include" in tables:
        (source.place / "include").problem(f"{path} includes further files", "list all files in the first one")
        del tables["include"]
    _add(tables, path, source)


def _add(tables: dict[str, Any], path: Path, source: _Source) -> None:
    """Join the tables of a file to those that are there; what stands in two files is a problem, never a merge."""
    for key, value in tables.items():
        if key in _SPREAD and isinstance(value, dict) and isinstance(source.tables.get(key, {}), dict):
            entries = source.tables.setdefault(key, {})
            for name, entry in value.items():
                if _claim((key, name), path, source):
                    entries[name] = entry
        elif _claim((key,), path, source):
            source.tables[key] = value


def _claim(key: tuple[str, ...], path: Path, source: _Source) -> bool:
    owner = source.files.setdefault(key, path)
    if owner != path:
        Place(key, source.place.found).problem(f"is written in {owner} and in {path}", "keep it in one of the files")
    return owner == path


def _find_included(patterns: object, directory: Path, place: Place) -> list[Path]:
    """Return the files that the patterns name, in the order of their names, each once."""
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        place.problem("must be an array of texts", 'include = ["conf.d/*.toml"]')
        return []
    found: set[Path] = set()
    for index, pattern in enumerate(patterns):
        pure = PurePosixPath(pattern)
        if not pattern or pure.is_absolute() or ".." in pure.parts or "**" in pure.parts:
            (place / index).problem(
                f"{pattern!r} leads out of the configuration's directory", 'include = ["conf.d/*.toml"]'
            )
            continue
        matches = list(directory.glob(pattern))
        if not matches and not set(pattern) & set("*?["):
            (place / index).problem(f"{directory / pattern} does not exist", f"touch {directory / pattern}")
        found |= _keep_inside(matches, directory, place / index)
    return sorted(found, key=lambda path: (path.name, str(path)))


def _keep_inside(matches: list[Path], directory: Path, place: Place) -> set[Path]:
    inside = set()
    for match in matches:
        # A linked directory could lead anywhere; a linked file is refused when it is opened.
        if match.parent.resolve().is_relative_to(directory.resolve()):
            inside.add(match)
        else:
            place.problem(f"{match} lies outside {directory}", f"copy it: cp {match.resolve()} {directory}")
    return inside
