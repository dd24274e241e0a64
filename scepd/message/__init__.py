"""RFC 8894 and CMS, both directions: bytes in, values out."""
