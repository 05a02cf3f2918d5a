"""Evaluation on MP-100 with the pairs, crops and metrics of its reference code."""
