"""`fskd demo`: the detector on a local web page."""
