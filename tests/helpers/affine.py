"""Composition of 2x3 matrices, which only tests need."""


def compose(first, second):
  """Returns the matrix that applies `second`, then `first`."""
  composed = first[..., :2] @ second
  composed[..., 2] += first[..., 2]
  return composed
