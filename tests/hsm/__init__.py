"""Tests of the PKCS#11 room, on SoftHSM2."""
