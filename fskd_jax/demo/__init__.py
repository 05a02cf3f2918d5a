"""Web page of `fskd demo`."""
