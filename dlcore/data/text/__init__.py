"""Texts: tokenizers, and data sets of texts and of pairs of texts."""
