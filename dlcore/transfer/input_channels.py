"""Adapts convolution kernels between grayscale and RGB images."""

import numpy as np

CHANNELS = {
  (3, 1): "3 input channels are summed: gray equals three equal colors",
  (1, 3): "1 input channel is split over 3: gray is their mean",
}
"""Description of the supported changes, for the report."""


def adapt(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Changes the input channels of kernels `[Y, X, C, F]` from 3 to 1 or back.

  A grayscale image then gives the output of an RGB image of three equal
  channels, up to rounding: kernels are summed over C, or divided by 3.

  Args:
    array: kernels in the model's layout.
    shape: `[Y, X, C', F]`.

  Raises:
    ValueError: another axis differs, or the channels are not 3 and 1.
  """
  if len(shape) != 4 or array.ndim != 4:
    raise ValueError("only kernels of images change their input channels")
  if array.shape[:2] + array.shape[3:] != shape[:2] + shape[3:]:
    raise ValueError(
      f"kernels {list(array.shape)} cannot become {list(shape)}: only input "
      "channels change"
    )
  change = (array.shape[2], shape[2])
  if change not in CHANNELS:
    raise ValueError("only 3 input channels become 1, or 1 becomes 3")
  if change == (3, 1):
    return array.sum(axis=2, keepdims=True, dtype=np.float32)
  return np.repeat(array.astype(np.float32) / 3, 3, axis=2)
