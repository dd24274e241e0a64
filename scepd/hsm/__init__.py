"""Keys in a PKCS#11 token; the only importer of pkcs11."""
