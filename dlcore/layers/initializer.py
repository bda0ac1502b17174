"""Initializers of kernels by name."""

from flax.linen import initializers

INITIALIZERS = {
  "glorot": initializers.glorot_uniform(),
  "he": initializers.he_normal(),
  "lecun": initializers.lecun_normal(),
  "normal": initializers.normal(0.02),
  "orthogonal": initializers.orthogonal(),
}
"""`(key, shape, dtype) -> array`.

lecun, glorot and he keep the variance of what flows through a layer: with a
linear activation forwards, with tanh forwards and backwards (Glorot & Bengio
2010), with relu (He et al. 2015). `normal` has a deviation of 0.02 whatever
the shape, as in BERT and GPT-2; `orthogonal` is that of Saxe et al. 2013.
"""
