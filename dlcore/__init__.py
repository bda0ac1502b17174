"""A JAX codebase of pure functions for deep learning research."""

__version__ = "0.2.0"
