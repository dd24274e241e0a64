"""The kinds of values that the keys of a table have: a type, and the reader that makes it."""

from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from re import Pattern
from typing import Annotated

from scepd.config import scalars
from scepd.config.patterns import read_attribute, read_expression, read_network
from scepd.config.pin import read_pin_references
from scepd.config.secret import SecretReference, read_reference
from scepd.config.variables import Variables, read_variables

Text = Annotated[str, scalars.read_text]
Flag = Annotated[bool, scalars.read_flag]
Duration = Annotated[timedelta, scalars.read_duration]
Delay = Annotated[timedelta, scalars.read_delay]
Instant = Annotated[datetime, scalars.read_instant]
Url = Annotated[str, scalars.read_url]
KeyUri = Annotated[str, scalars.read_key_uri]
Address = Annotated[tuple[str, int], scalars.read_address]
PinParts = Annotated[tuple[SecretReference, ...], read_pin_references]
Secretly = Annotated[SecretReference, read_reference]
SubjectAttribute = Annotated[str, read_attribute]
Expression = Annotated[Pattern[str], read_expression]
Environment = Annotated[Variables, read_variables]
Network = Annotated[IPv4Network | IPv6Network, read_network]


def required(example: str, *, single: bool = False) -> dict[str, object]:
    """Return the metadata of a key that must be written: the line to write, and whether one value does for an array."""
    return {"example": example, "single": single}
