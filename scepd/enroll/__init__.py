"""From PKIMessage bytes to CertRep bytes."""
