"""Weights of encoders that others published: which there are, and where to get them."""
