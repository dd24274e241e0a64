"""scepd: an event-driven SCEP (RFC 8894) appliance whose private keys stay in a PKCS#11 token."""

__version__ = "0.1.0"
