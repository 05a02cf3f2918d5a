"""Proposition 1: detection by a generated kernel approximates modulate-then-detect.

The toy study of section A.3 of the AAAI 2024 supplement. For a feature map x [c] per
cell and a prototype a [c],

  MDS: heat-map = g(a * x),         g a network from c channels to a number,
  SMD: heat-map = f(a) . x / c,     f a network from c channels to a kernel of c.

Both networks have one hidden layer with the activation (1/T) ln(1 + exp(T z)), which
becomes ReLU as T grows. The proof replaces the activation by its first-order expansion
around a value epsilon of the hidden pre-activations z. Both networks are then affine,
and the heat-maps differ by aT (Diag(W_mds) - W_smdT / c) x and terms that do not depend
on a and x together; W_mds and W_smd are the matrices of the two affine networks.
"""
