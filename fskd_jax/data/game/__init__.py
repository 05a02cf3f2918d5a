"""Rendered animals and people of the game 0 A.D."""
