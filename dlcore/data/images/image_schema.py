"""The schema of images, and reading of image files for prediction."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlcore.data.images import decoding, opening
from dlcore.data.info import DataInfo, Inputs, ReadBatch, Schema


def _value_range(value: Any) -> tuple[float, ...]:
  if not decoding.is_range(value):
    raise ValueError
  return tuple(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSchema(Schema):
  """Schema of images `[N, Y, X, C]`, uint8 with C 1 or 3, of one size."""

  kind: ClassVar[str] = "images"

  parsers: ClassVar[Mapping[str, Any]] = {
    **Schema.parsers,
    "value_range": _value_range,
    "resize": {how: how for how in decoding.RESIZE}.__getitem__,
    "interpolation": {n: n for n in decoding.INTERPOLATIONS}.__getitem__,
  }

  input: str = "image"
  target: str = "label"

  value_range: tuple[float, ...] | None = None
  """Values of gray images of 16 or 32 bits that become 0 and 255. None if the
  training data has no such images, and in runs of earlier versions: then the
  range is 0 to 65535."""

  resize: str = "exact"
  """How an image of another size is resized, one of `decoding.RESIZE`."""

  interpolation: str = "bilinear"
  """The filter of that, a key of `decoding.INTERPOLATIONS`."""

  def decode(self, file: Path, shape: Sequence[int]) -> np.ndarray:
    """Decodes an image as those of the training data; see `decoding.decode`."""
    return decoding.decode(
      file, shape, self.value_range, self.resize, self.interpolation
    )

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Decodes image files to the size of the training images."""
    shape, _ = info.inputs[self.input]
    for start in range(0, len(paths), rows):
      names, images, errors = [], [], []
      for path in paths[start : start + rows]:
        try:
          images.append(self.decode(path, shape))
          names.append(str(path))
        except decoding.UnreadableError as error:
          errors.append((str(path), str(error)))
      arrays = {self.input: np.stack(images)} if images else None
      yield ReadBatch(names, arrays, errors)

  def validate(self, inputs: Inputs) -> None:
    """Checks that the input is an image that `decoding.decode` can return."""
    super().validate(inputs)
    shape, dtype = inputs.get(self.input, ((), ""))
    is_image = dtype == "uint8" and len(shape) == 3 and shape[2] in (1, 3)
    if not is_image or shape[0] * shape[1] > opening.MAX_PIXELS:
      raise ValueError(
        f"expected inputs of ImageSchema to be uint8 images [Y, X, C] with C 1 "
        f"or 3, got {self.input!r} of {dtype}{list(shape)}: convert them, or "
        "use ArraySchema()"
      )
