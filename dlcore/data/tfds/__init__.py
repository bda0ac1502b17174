"""Data sets of tensorflow-datasets, prepared and read without TensorFlow."""
