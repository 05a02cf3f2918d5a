"""MP-100: pairs, crops and metrics as in its reference implementation."""
