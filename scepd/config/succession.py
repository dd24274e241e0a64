"""CA rollover in a configuration: who follows whom, when, and whether their certificates agree with that (E7)."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from cryptography import x509

from scepd.config import certificates as judge
from scepd.config.certificates import Moment
from scepd.config.issuer_settings import IssuerSettings
from scepd.config.scalars import same_key
from scepd.config.sections import IssuerSection
from scepd.problems import Place, Refused, suggest

_EXAMPLE = "next_from = 2031-03-01T06:00:00Z"


def moments(sections: Mapping[str, IssuerSection], in_use: frozenset[str], now: datetime) -> dict[str, Moment]:
    """Return for each issuer when its certificates must be valid.

    An issuer that only follows another serves from then on; one that was followed serves no more, though requests
    to its RA may still be answered. `in_use` are the issuers that profiles name.
    """
    takeovers: dict[str, list[datetime]] = {}
    for section in sections.values():
        if section.next is not None and section.next_from is not None:
            takeovers.setdefault(section.next, []).append(section.next_from)
    return {
        name: Moment(
            now,
            begins=max(now, min(takeovers[name])) if name in takeovers and name not in in_use else now,
            ended=section.next is not None and section.next_from is not None and section.next_from <= now,
        )
        for name, section in sections.items()
    }


def judge_successions(
    sections: Mapping[str, IssuerSection],
    issuers: Mapping[str, IssuerSettings | None],
    place: Place,
) -> None:
    """Note what is wrong with the successions; `issuers` has None for one that is written but faulty."""
    for name, section in sections.items():
        here = place / name
        _judge_keys(section, here)
        if section.next is None:
            continue
        if section.next not in sections:
            (here / "next").problem(
                f"there is no [issuer.{section.next}]", suggest(section.next, set(sections) - {name})
            )
        elif name in _line(section.next, sections):
            (here / "next").problem(f"{name} would follow itself", "name an issuer with a key of its own")
        else:
            _judge_order(section, sections[section.next], here)
            _judge_pair(issuers.get(name), issuers.get(section.next), section, here)


def followers(name: str, sections: Mapping[str, IssuerSection]) -> tuple[str, ...]:
    """Return the issuer and all that ever follow it, as far as they are written."""
    return tuple(one for one in _line(name, sections) if one in sections)


def _line(name: str, sections: Mapping[str, IssuerSection]) -> dict[str, None]:
    """Return the issuer and those that follow it, each once, in their order."""
    line: dict[str, None] = {}
    follower: str | None = name
    while follower is not None and follower not in line:
        line[follower] = None
        follower = sections[follower].next if follower in sections else None
    return line


def _judge_keys(section: IssuerSection, place: Place) -> None:
    """Note a `next` without its time, and times without `next`; a value that could not be read is noted already."""
    if section.next is not None and section.next_from is None and not (place / "next_from").is_noted:
        (place / "next_from").problem("is missing: when does the next issuer take over?", _EXAMPLE)
    if section.next is None and not (place / "next").is_noted:
        for key in ("next_from", "next_overlap"):
            if getattr(section, key) is not None:
                (place / key).problem("nobody is named who takes over", 'next = "devices-2"')


def _judge_order(section: IssuerSection, follower: IssuerSection, place: Place) -> None:
    if section.next_from is not None and follower.next_from is not None and follower.next_from <= section.next_from:
        hint = "write the next_from of the later issuer later"
        (place / "next_from").problem(f"{section.next} hands over itself at {_write(follower.next_from)}", hint)


def _judge_pair(
    old: IssuerSettings | None,
    new: IssuerSettings | None,
    section: IssuerSection,
    place: Place,
) -> None:
    if old is None or new is None:
        return
    old_ca, new_ca = (x509.load_der_x509_certificate(one.certificate_der) for one in (old, new))
    if section.next_from is not None:
        for key, refused in _judge_times(old_ca, new_ca, section):
            (place / key).refuse(refused)
    for refused in _judge_distinct(old, new, old_ca, new_ca):
        (place / "next").refuse(refused)


def _judge_times(
    old: x509.Certificate,
    new: x509.Certificate,
    section: IssuerSection,
) -> Iterator[tuple[str, Refused]]:
    assert section.next_from is not None
    end = old.not_valid_after_utc
    if section.next_from < new.not_valid_before_utc:
        begin = _write(new.not_valid_before_utc)
        yield "next_from", Refused(f"the certificate of {section.next} begins only at {begin}", f"next_from = {begin}")
    if section.next_from >= new.not_valid_after_utc:
        ended = _write(new.not_valid_after_utc)
        yield "next_from", Refused(f"the certificate of {section.next} ends at {ended}", "an earlier time")
    if section.next_from > end:
        hint = f"next_from = {_write(end - (end - old.not_valid_before_utc) / 10)}"
        yield "next_from", Refused(f"nobody would issue from {_write(end)} on, when {judge.show(old)} ends", hint)
    elif section.next_overlap is not None and section.next_from + section.next_overlap > end:
        left = end - section.next_from
        hint = f'next_overlap = "{left.days}d"' if left.days else "an earlier next_from"
        yield "next_overlap", Refused(f"lasts longer than {judge.show(old)}, which ends at {_write(end)}", hint)


def _judge_distinct(
    old: IssuerSettings,
    new: IssuerSettings,
    old_ca: x509.Certificate,
    new_ca: x509.Certificate,
) -> Iterator[Refused]:
    """Yield what the two share: a request must name, in the clear, exactly one of the two (C-066, C-102)."""
    if same_key(old.key, new.key) or judge.spki(old_ca) == judge.spki(new_ca):
        yield Refused(
            f"{new.name} has the same CA key", "an issuer is one key: scepd hsm keygen devices-2-ca --role sign"
        )
        return
    theirs, ours = (
        [x509.load_der_x509_certificate(one.certificate_der) for one in issuer.recipients] for issuer in (new, old)
    )
    if {judge.spki(one) for one in theirs} & {judge.spki(one) for one in ours}:
        hint = "scepd hsm keygen devices-2-ra-decrypt --role decrypt --type rsa:2048"
        yield Refused(f"{new.name} has the same RA decryption key", hint)
    if {(one.issuer, one.serial_number) for one in theirs} & {(one.issuer, one.serial_number) for one in ours}:
        hint = "issue the RA certificate of one of them anew, with another serial number"
        yield Refused(f"an RA certificate of {new.name} has the same issuer name and serial number", hint)


def _write(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
