"""Kernel initializers by name."""

from flax.linen import initializers

INITIALIZERS = {
  "glorot": initializers.glorot_uniform(),
  "he": initializers.he_normal(),
  "lecun": initializers.lecun_normal(),
  "normal": initializers.normal(0.02),
  "orthogonal": initializers.orthogonal(),
}
"""`(key, shape, dtype) -> array`.

`lecun`, `glorot` and `he` preserve the variance of activations through a layer:
in the forward pass with a linear activation, in both passes with tanh (Glorot &
Bengio 2010), and with relu (He et al. 2015). `normal` has a standard deviation
of 0.02 for every shape, as in BERT and GPT-2. `orthogonal` is from Saxe et al.
2013.
"""
