"""Measures what `fskd adapt`, `fskd suggest` and `fskd data check` are worth."""
