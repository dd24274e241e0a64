"""RFC 8894 and CMS: bytes in, values out."""
