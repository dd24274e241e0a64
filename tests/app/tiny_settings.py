"""Settings for the tiny service, from a JSON file that a test may change before a reload."""

import json

from scepd.config.hsm_settings import HsmSettings, PinPart, PinReference
from scepd.config.listener_settings import ListenerSettings
from scepd.config.settings import Appliance, Settings, StoreSettings
from scepd.profile.model import Profile


def read_wishes(directory):
    written = json.loads((directory / "config.json").read_text())
    return {"workers": 1, "name": "first", "ports": [0], "ready": 30.0, **written}


def make(directory):
    wishes = read_wishes(directory)
    if "fault" in wishes:
        raise ValueError(wishes["fault"])
    return Settings(
        appliance=Appliance(wishes["name"], None, directory, directory / "run"),
        hsm=HsmSettings(directory / "module.so", "token", None, PinReference((PinPart("prompt"),))),
        store=StoreSettings("sqlite:////nowhere", directory / "store-key"),
        issuers=(),
        listeners=(ListenerSettings("plain", tuple(("127.0.0.1", port) for port in wishes["ports"]), None, ("scep",)),),
        profiles=(Profile(name="p", default=True),),
        workers=wishes["workers"],
    )
