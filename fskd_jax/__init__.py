"""Few-shot keypoint detection in JAX."""
