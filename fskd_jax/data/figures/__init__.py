"""Drawn persons, hands, faces, insects and fish, for kinds that creatures are not."""
