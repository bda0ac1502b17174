"""Layer norm that keeps its digits."""

from functools import partial

from flax import linen as nn

LayerNorm = partial(nn.LayerNorm, use_fast_variance=False)
"""Flax's, by E[(x - E[x])^2]: the faster E[x^2] - E[x]^2 loses digits.

Ba, Kiros & Hinton 2016, arXiv:1607.06450.
"""
