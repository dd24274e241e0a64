"""The issuers as compiled: their keys by URI, their certificates, what they publish, who follows."""

from datetime import datetime, timedelta

import attrs

from scepd.x509.certificate import Locations


@attrs.frozen
class RaSettings:
    """One RA key (RFC 7512 URI) and its certificate; of a former decryption key, who signed when it was current.

    `sign` None: whoever encrypts to it is answered with the current signing key.
    """

    key: str
    certificate_der: bytes
    sign: "RaSettings | None" = None


@attrs.frozen
class CrlSettings:
    """The CRL of an issuer: how long each is valid, and after how long the next follows (RFC 5280 section 5.1.2.5).

    Of so many certificates each has a CRL of their own, where certificates say where theirs is.
    """

    valid: timedelta = timedelta(days=7)
    every: timedelta = timedelta(days=1)
    shard_size: int = 100_000


@attrs.frozen
class OcspSettings:
    """The OCSP key of an issuer, and how long its answers hold.

    `certificate_der` certifies the key for the first time; it may have ended, since the service renews it in the store,
    each for `certificate_valid`. `valid` is an answer's, `cache` how long it is given out again.
    """

    key: str
    certificate_der: bytes
    valid: timedelta = timedelta(hours=12)
    cache: timedelta = timedelta(minutes=5)
    certificate_valid: timedelta = timedelta(days=30)


@attrs.frozen
class SuccessionSettings:
    """The issuer that follows another: by name, from when on, and how long the old one is accepted afterwards."""

    issuer: str
    at: datetime
    overlap: timedelta = timedelta(days=30)


@attrs.frozen
class IssuerSettings:
    """A local issuer: its key by URI, its certificate, the certificates above it (nearest first), its RA pair.

    Where the CA is its own RA, `ra_sign` and `ra_decrypt` name the CA's key and certificate; a single RA key stands
    in both. `ra_decrypt` None: requests come by PasswordRecipientInfo alone, since the RA key cannot decrypt.
    """

    name: str
    key: str
    certificate_der: bytes
    chain: tuple[bytes, ...]
    ra_sign: RaSettings
    ra_decrypt: RaSettings | None
    ra_decrypt_previous: tuple[RaSettings, ...] = ()  # still served and accepted while devices learn the new one
    crl: CrlSettings | None = None  # None: this issuer publishes none
    ocsp: OcspSettings | None = None  # None: OCSP does not answer for it
    next: SuccessionSettings | None = None
    ca_is_ra: bool = False  # the key of the CA does everything (insecurely_ca_is_ra)
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()

    @property
    def recipients(self) -> tuple[RaSettings, ...]:
        """The RA decryption keys that requests may be encrypted to, the current one first."""
        return (*filter(None, (self.ra_decrypt,)), *self.ra_decrypt_previous)

    @property
    def former_signers(self) -> tuple[RaSettings, ...]:
        """The signing keys of former decryption keys that had one of their own, each once."""
        return tuple(dict.fromkeys(one.sign for one in self.ra_decrypt_previous if one.sign is not None))

    @property
    def own_certificates(self) -> tuple[bytes, ...]:
        """The certificates (DER) of every key that the service uses for this issuer."""
        pairs = (one.certificate_der for one in (*self.recipients, *self.former_signers))
        responder = () if self.ocsp is None else (self.ocsp.certificate_der,)
        return (self.certificate_der, self.ra_sign.certificate_der, *pairs, *responder)

    @property
    def locations(self) -> Locations:
        """Where its certificates say that what it publishes is found."""
        return Locations(self.crl_urls, self.ocsp_urls, self.issuer_urls)

    @property
    def has_one_ra_key(self) -> bool:
        """Whether one key signs replies and decrypts requests."""
        return self.ra_decrypt == self.ra_sign
