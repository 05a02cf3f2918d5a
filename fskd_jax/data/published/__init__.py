"""The published data sets: their facts, their files, and how to prepare them."""
