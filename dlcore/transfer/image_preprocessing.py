"""How a published model wants its images: size, crop and normalization.

The settings are those of preprocessor_config.json of transformers, of
`pretrained_cfg` in a config.json of timm, or of the `schema` in a config.json
of dlcore.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.images import decoding
from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer.families.own import OWN
from dlcore.transfer.io import files

PREPROCESSOR = "preprocessor_config.json"

PROCESSOR = "CLIPImageProcessor"
"""Class of transformers that resizes, crops and normalizes images of any
model."""

IDENTITY = ((0.0,), (1.0,))
"""Mean and standard deviation of pixels that are only scaled to 0 to 1."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet on the scale 0 to 1."""

WITHOUT_CROP = 384
"""Side from which ConvNeXt's images are resized without a crop."""

MAX_SIDE = 4096
INVALID = (AttributeError, LookupError, TypeError, ValueError, OverflowError)


class ImagePreprocessing(NamedTuple):
  """Resizing and normalization of the images of a published model."""

  size: tuple[int, int]
  """Rows and columns that the model receives."""

  shorter_side: int = 0
  """Images are scaled so that their shorter side is this, and cropped at the
  center; 0 if they are resized to `size` whatever their aspect ratio."""

  interpolation: str = "bilinear"
  """A key of `decoding.INTERPOLATIONS`."""

  mean: Sequence[float] = IMAGENET[0]
  std: Sequence[float] = IMAGENET[1]

  resize: str = ""
  """One of `decoding.RESIZE` for images that are decoded as in training, in
  place of `shorter_side`; empty for published models of other libraries."""

  value_range: Sequence[float] | None = None
  """See `ImageSchema.value_range`."""

  def decode(self, file: Path, channels: int) -> np.ndarray:
    """Decodes an image file to uint8 `[Y, X, C]`.

    Raises:
      decoding.UnreadableError: it cannot be decoded.
    """
    from PIL import Image

    if self.resize:
      return decoding.decode(
        file,
        (*self.size, channels),
        self.value_range,
        self.resize,
        self.interpolation,
      )
    image = decoding.decode(file, (None, None, channels))
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    rows, columns = self._resized(picture.height, picture.width)
    if (rows, columns) != (picture.height, picture.width):
      number = decoding.INTERPOLATIONS[self.interpolation]
      filter_ = Image.Resampling(number)
      picture = picture.resize((columns, rows), filter_)
    top, left = (rows - self.size[0]) // 2, (columns - self.size[1]) // 2
    array = np.asarray(picture).reshape(rows, columns, channels)
    return array[top : top + self.size[0], left : left + self.size[1]]

  def _resized(self, height: int, width: int) -> tuple[int, int]:
    """Returns rows and columns before the crop."""
    if not self.shorter_side:
      return self.size
    shorter, longer = sorted((height, width))
    scaled = int(self.shorter_side * longer / shorter)
    if scaled * self.shorter_side > decoding.LARGE_PIXELS:
      raise decoding.UnreadableError(
        f"{height} x {width} pixels, too long and narrow for a crop"
      )
    sides = (self.shorter_side, scaled)
    return sides if height <= width else (scaled, self.shorter_side)


def to_transformers(
  preprocessing: ImagePreprocessing, channels: int
) -> dict[str, Any]:
  """Returns the preprocessor_config.json of transformers.

  Images are scaled to cover a square size and cropped at the center. For other
  sizes transformers lacks this, so they are resized whatever their aspect
  ratio.

  Args:
    preprocessing: with `resize`.
    channels: C.
  """
  rows, columns = preprocessing.size
  size = {"height": rows, "width": columns}
  is_square = rows == columns
  return {
    "image_processor_type": PROCESSOR,
    "do_convert_rgb": channels == 3,
    "do_resize": True,
    "size": {"shortest_edge": rows} if is_square else size,
    "resample": decoding.INTERPOLATIONS[preprocessing.interpolation],
    "do_center_crop": is_square,
    "crop_size": size,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": _of_channels(preprocessing.mean, channels),
    "image_std": _of_channels(preprocessing.std, channels),
  }


def to_timm(preprocessing: ImagePreprocessing, channels: int) -> dict[str, Any]:
  """Returns the entries of `pretrained_cfg` in a config.json of timm.

  Args:
    preprocessing: with `resize`.
    channels: C.
  """
  rows, columns = preprocessing.size
  return {
    "input_size": [channels, rows, columns],
    "interpolation": preprocessing.interpolation,
    "crop_pct": 1.0,
    "crop_mode": "center" if rows == columns else "squash",
    "mean": _of_channels(preprocessing.mean, channels),
    "std": _of_channels(preprocessing.std, channels),
  }


def _of_channels(values: Sequence[float], channels: int) -> list[float]:
  return list(values) * (channels if len(values) == 1 else 1)


def read_preprocessing(
  folder: Path,
  config: Mapping[str, Any],
  size: tuple[int, int],
  link_root: Path | None = None,
) -> tuple[ImagePreprocessing, bool]:
  """Returns the preprocessing of a published folder.

  Args:
    folder: with or without preprocessor_config.json.
    config: content of its config.json.
    size: rows and columns by default.
    link_root: see `files.open_plain`.

  Returns:
    The preprocessing, and whether a file of the folder defines it. By default
    the shorter side is scaled to that of `size`, and colors are normalized as
    ImageNet's.

  Raises:
    UserError: a file is malformed, or defines an operation that dlcore lacks.
  """
  path = folder / PREPROCESSOR
  if os.path.lexists(path):
    settings, read = files.read_json(path, link_root), _of_transformers
  elif isinstance(config.get("pretrained_cfg"), Mapping):
    path, read = folder / "config.json", _of_timm
    settings = config["pretrained_cfg"]
  elif config.get("model_type") == OWN and _has_images(config):
    path, read = folder / "config.json", _of_own
    settings = config
  else:
    return ImagePreprocessing(size, min(size)), False
  try:
    result = read(settings, size)
    _check(result)
  except INVALID as error:
    raise UserError(
      f"expected the size and the normalization of images in {path}",
      f"got {type(error).__name__}: {quoted(error)}",
      "correct the file, or download it again",
    ) from error
  return result, True


def _of_transformers(
  settings: Mapping[str, Any], size: tuple[int, int]
) -> ImagePreprocessing:
  """Reads the settings of an image processor of transformers."""
  factor = settings.get("rescale_factor") or 1 / 255
  refused = {
    "do_pad": bool(settings.get("do_pad")),
    "do_resize": settings.get("do_resize") is False,
    "do_rescale": settings.get("do_rescale") is False,
    "rescale_factor": not math.isclose(factor, 1 / 255, rel_tol=1e-4),
  }
  for name, is_set in refused.items():
    if is_set:
      raise ValueError(f"{name}={settings.get(name)!r}, which dlcore lacks")
  moments = [
    settings.get(key) or default
    for key, default in zip(("image_mean", "image_std"), IMAGENET, strict=True)
  ]
  if settings.get("do_normalize") is False:
    moments = [(0.0,), (1.0,)]
  mean, std = (tuple(map(float, values)) for values in moments)
  cropped, shorter_side = _sizes(settings, size)
  names = {number: name for name, number in decoding.INTERPOLATIONS.items()}
  resample = settings.get("resample", decoding.INTERPOLATIONS["bilinear"])
  if resample not in names:
    raise ValueError(f"{resample=}")
  return ImagePreprocessing(cropped, shorter_side, names[resample], mean, std)


def _sizes(
  settings: Mapping[str, Any], size: tuple[int, int]
) -> tuple[tuple[int, int], int]:
  """Returns the size of the images, and their shorter side before the crop."""
  kinds = ("image_processor_type", "feature_extractor_type")
  is_convnext = "crop_pct" in settings or any(
    str(settings.get(kind, "")).startswith("ConvNext") for kind in kinds
  )
  given = settings.get("size", size)
  if isinstance(given, int):
    given = {"shortest_edge": given} if is_convnext else (given, given)
  if isinstance(given, tuple) or "shortest_edge" not in given:
    return _pair(given), 0
  side = given["shortest_edge"]
  if is_convnext:
    if side >= WITHOUT_CROP:
      return (side, side), 0
    return (side, side), int(side / (settings.get("crop_pct") or 224 / 256))
  if not settings.get("do_center_crop"):
    raise ValueError("shortest_edge without do_center_crop, which dlcore lacks")
  return _pair(settings.get("crop_size", side)), side


def _pair(value: Any) -> tuple[int, int]:
  """Returns rows and columns of an entry for a size."""
  if isinstance(value, int):
    return value, value
  if isinstance(value, tuple):
    return value
  return value["height"], value["width"]


def _of_timm(
  settings: Mapping[str, Any], size: tuple[int, int]
) -> ImagePreprocessing:
  """Reads the settings of the evaluation transform of timm."""
  rows, columns = settings.get("input_size", (3, *size))[1:]
  mode = settings.get("crop_mode", "center")
  if mode not in ("center", "squash"):
    raise ValueError(f"crop_mode={mode!r}, not supported")
  share = float(settings.get("crop_pct", 0.875))
  scaled = math.floor(min(rows, columns) / share)
  if mode == "squash" and scaled != min(rows, columns):
    raise ValueError(f"crop_mode={mode!r} with {share=}, not supported")
  mean, std = (
    tuple(map(float, settings.get(key, default)))
    for key, default in zip(("mean", "std"), IMAGENET, strict=True)
  )
  return ImagePreprocessing(
    (rows, columns),
    0 if mode == "squash" else scaled,
    settings.get("interpolation", "bilinear"),
    mean,
    std,
  )


def _has_images(config: Mapping[str, Any]) -> bool:
  """Returns whether a config.json of dlcore has the schema of images."""
  schema = config.get("schema")
  return isinstance(schema, Mapping) and schema.get("kind") == "images"


def _of_own(
  config: Mapping[str, Any], size: tuple[int, int]
) -> ImagePreprocessing:
  """Reads the schema of the images of a run."""
  del size
  schema = config["schema"]
  rows, columns, _ = config["input"]
  moments = schema.get("normalization")
  mean, std = (
    tuple(map(float, moments[key])) if moments else default
    for key, default in zip(("mean", "std"), IDENTITY, strict=True)
  )
  return ImagePreprocessing(
    (rows, columns),
    0,
    schema.get("interpolation", "bilinear"),
    mean,
    std,
    schema.get("resize", "exact"),
    schema.get("value_range"),
  )


def _check(result: ImagePreprocessing) -> None:
  """Checks the ranges.

  Raises:
    ValueError: a value is out of range.
  """
  sides = (*result.size, result.shorter_side or 1)
  if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
    raise ValueError(f"sizes {sides}, not 1 to {MAX_SIDE:,}")
  if result.shorter_side and result.shorter_side < max(result.size):
    raise ValueError(f"a crop of {result.size} from {result.shorter_side}")
  if result.interpolation not in decoding.INTERPOLATIONS:
    raise ValueError(f"interpolation={result.interpolation!r}")
  if result.resize and result.resize not in decoding.RESIZE:
    raise ValueError(f"resize={result.resize!r}")
  if result.value_range and not decoding.is_range(result.value_range):
    raise ValueError(f"value_range={result.value_range!r}")
  values = (*result.mean, *result.std)
  is_range = all(math.isfinite(value) for value in values)
  sizes = {len(result.mean), len(result.std)}
  if not is_range or min(result.std) <= 0 or sizes not in ({1}, {3}):
    raise ValueError(f"mean {result.mean} and deviation {result.std}")
