"""From the RA keys of [issuer.NAME] to settings: a pair with one role each, one key with both, or the CA itself."""

from collections.abc import Callable, Iterable
from itertools import combinations

import attrs
from cryptography import x509

from scepd.config import certificates as judge
from scepd.config.certificates import Moment, read_named
from scepd.config.issuer_settings import RaSettings
from scepd.config.scalars import same_key
from scepd.config.secret import Surroundings
from scepd.config.sections import FormerRaSection, IssuerSection, OcspSection, RaSection
from scepd.problems import Place, Refused

_PAIR = 'ra_sign = { key = "pkcs11:object=ra-sign", certificate = "ra-sign.pem" }'
_DECRYPT = 'ra_decrypt = { key = "pkcs11:object=ra-decrypt", certificate = "ra-decrypt.pem" }'


@attrs.frozen
class _Keyed:
    """A key of an issuer: where it stands, whose it is, its URI and its certificate (None: not read)."""

    place: Place
    owner: str
    uri: str | None
    certificate: x509.Certificate | None

    @property
    def settings(self) -> RaSettings | None:
        if self.uri is None or self.certificate is None:
            return None
        return RaSettings(self.uri, judge.to_der(self.certificate))

    @property
    def can_encipher(self) -> bool:
        """Whether clients can encrypt to it; a key that was not read is not in doubt for that."""
        return self.certificate is None or judge.is_rsa(self.certificate)


@attrs.frozen
class Registrations:
    """The RA of an issuer as settings; `decrypt` None where requests come by password alone."""

    sign: RaSettings
    decrypt: RaSettings | None
    previous: tuple[RaSettings, ...]
    responder: RaSettings | None = None  # the OCSP key, which is kept apart from the others


@attrs.frozen
class RegistrationCompiler:
    """Reads the RA keys of one issuer; `issuer` is its CA certificate, None where it could not be read."""

    section: IssuerSection
    issuer: x509.Certificate | None
    surroundings: Surroundings
    moment: Moment
    place: Place

    def compile(self) -> Registrations | None:
        """Return the RA in whichever of the three forms is written, None where something of it is lacking."""
        self._refuse_two_forms()
        previous = [
            self._read_former(entry, self.place / "ra_decrypt_previous" / index)
            for index, entry in enumerate(self.section.ra_decrypt_previous)
        ]
        signers = {one.uri: one for _, one in previous if one is not None}
        responder = self._read_responder()
        authority = _Keyed(self.place, "the issuer", self.section.key, self.issuer)
        if self.section.insecurely_ca_is_ra:
            keys = self._use_authority(authority)
        elif self.section.ra is not None:
            keys = self._read_single(self.section.ra)
        else:
            keys = self._read_pair()
        others = (keyed for keyed in keys if keyed is not authority)
        _keep_apart((authority, *others, *(keyed for keyed, _ in previous), *signers.values(), *responder))
        pair = [settings for keyed in keys if (settings := keyed.settings)]
        if len(pair) != len(keys):
            return None
        return Registrations(
            sign=pair[0],
            decrypt=pair[-1] if keys[-1].can_encipher else None,
            previous=tuple(
                attrs.evolve(settings, sign=None if signer is None else signer.settings)
                for keyed, signer in previous
                if (settings := keyed.settings)
            ),
            responder=next((settings for keyed in responder if (settings := keyed.settings)), None),
        )

    def _refuse_two_forms(self) -> None:
        hint = "keep ra_sign and ra_decrypt, or ra, or insecurely_ca_is_ra"
        if self.section.insecurely_ca_is_ra and self.section.ra is not None:
            (self.place / "ra").problem("the CA is its own RA (insecurely_ca_is_ra)", hint)
        for role in ("ra_sign", "ra_decrypt"):
            if getattr(self.section, role) is not None:
                if self.section.insecurely_ca_is_ra:
                    (self.place / role).problem("the CA is its own RA (insecurely_ca_is_ra)", hint)
                elif self.section.ra is not None:
                    (self.place / role).problem("ra has this role already", hint)

    def _use_authority(self, authority: _Keyed) -> tuple[_Keyed, ...]:
        if self.issuer is not None:
            _note(self.place / "insecurely_ca_is_ra", judge.judge_ca_as_ra(self.issuer))
        return (authority,)

    def _read_single(self, section: RaSection) -> tuple[_Keyed, ...]:
        keyed = self._read(section, self.place / "ra", judge.judge_ra_signer)
        if keyed.certificate is not None and keyed.can_encipher:
            _note(keyed.place / "certificate", judge.judge_ra_recipient(keyed.certificate))
        return (keyed,)

    def _read_pair(self) -> tuple[_Keyed, ...]:
        sign = self._read(self.section.ra_sign, self.place / "ra_sign", judge.judge_ra_signer)
        if self.section.ra_sign is None:
            sign.place.problem("is missing", _PAIR)
        if self.section.ra_decrypt is None and not sign.can_encipher:
            return (sign,)  # requests come by password (RFC 8894 section 3.1)
        if self.section.ra_decrypt is None:
            (self.place / "ra_decrypt").problem("is missing", _DECRYPT)
        return (sign, self._read(self.section.ra_decrypt, self.place / "ra_decrypt", judge.judge_ra_recipient))

    def _read_responder(self) -> tuple[_Keyed, ...]:
        """Read the OCSP key; its certificate may have ended, since the service renews it."""
        if self.section.ocsp is None:
            return ()
        moment = attrs.evolve(self.moment, ended=True)
        return (self._read(self.section.ocsp, self.place / "ocsp", judge.judge_responder, moment),)

    def _read_former(self, section: FormerRaSection, place: Place) -> tuple[_Keyed, _Keyed | None]:
        keyed = self._read(section, place, judge.judge_ra_recipient)
        return keyed, None if section.sign is None else self._read(section.sign, place / "sign", judge.judge_ra_signer)

    def _read(
        self,
        section: RaSection | OcspSection | None,
        place: Place,
        judge_role: Callable[[x509.Certificate], Iterable[Refused]],
        moment: Moment | None = None,
    ) -> _Keyed:
        owner = str(place.path[-1])
        if section is None:
            return _Keyed(place, owner, None, None)
        certificate = read_named(section.certificate, self.surroundings, place / "certificate")
        if certificate is not None:
            _note(
                place / "certificate", (*judge_role(certificate), *judge.judge_time(certificate, moment or self.moment))
            )
            if self.issuer is not None:
                _note(place / "certificate", judge.judge_issued(certificate, self.issuer))
        return _Keyed(place, owner, section.key, certificate)


def _keep_apart(keys: Iterable[_Keyed]) -> None:
    # A key that both signs and decrypts is an oracle for the other role (threats S-16).
    hint = "one key for each role; another one: scepd hsm keygen devices-ra-decrypt --role decrypt --type rsa:2048"
    for first, second in combinations(keys, 2):
        if first.uri is not None and second.uri is not None and same_key(first.uri, second.uri):
            (second.place / "key").problem(f"is the same key as that of {first.owner}", hint)
        elif (
            first.certificate is not None
            and second.certificate is not None
            and judge.spki(first.certificate) == judge.spki(second.certificate)
        ):
            (second.place / "certificate").problem(f"certifies the same key as that of {first.owner}", hint)


def _note(place: Place, refusals: Iterable[Refused]) -> None:
    for refused in refusals:
        place.refuse(refused)
