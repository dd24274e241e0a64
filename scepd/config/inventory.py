"""Every file that a configuration is made of or names: what a backup takes, and what it leaves where it is."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import attrs

from scepd.config.secret import Surroundings
from scepd.config.settings import Settings


@attrs.frozen
class Inventory:
    """The files of a configuration by what they are; each path is absolute and stands in one list."""

    settings: Settings
    configuration: tuple[Path, ...]  # the first file, then those that it includes
    named: tuple[Path, ...]  # certificates, trust bundles, CRLs, networks, softhsm2.conf
    store_key: Path
    pins: tuple[Path, ...]  # the files of its parts; none where persons are asked
    secrets: tuple[Path, ...]  # the others: TLS keys, static challenges, keys for services outside

    @classmethod
    def of(cls, settings: Settings, read: Iterable[Path], surroundings: Surroundings) -> Self:
        """Sort what was read and named while the settings were compiled."""
        pins, store_key = settings.hsm.pin.paths, settings.store.key_file
        secrets = [path for path in dict.fromkeys(surroundings.secrets) if path not in (*pins, store_key)]
        kept_apart = {settings.hsm.module, settings.appliance.state, settings.appliance.runtime, settings.appliance.marks, *pins, store_key}
        kept_apart |= set(secrets)
        named = [path for path in dict.fromkeys(surroundings.named) if path not in kept_apart and path.is_file()]
        return cls(settings, tuple(dict.fromkeys(read)), tuple(named), store_key, pins, tuple(secrets))

    @property
    def directory(self) -> Path:
        """The configuration's directory."""
        return self.configuration[0].parent
