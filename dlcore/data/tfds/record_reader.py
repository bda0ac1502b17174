"""Reading of images and tensors from prepared records by index."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.array_schema import ArraySchema
from dlcore.data.images import decoding
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.info import Schema
from dlcore.data.tfds.package import import_tfds
from dlcore.data.tfds.records import DAMAGE, Records, split_sizes
from dlcore.data.value_checks import check_values
from dlcore.errors import UserError, lookup

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
"""Our name of a split by that of TFDS."""


class Features(NamedTuple):
  """The features of a TFDS data set that are read."""

  name: str
  """Name of the data set."""

  input_feature: str
  target_feature: str

  shape: tuple[int, ...]
  """Shape of one input."""

  dtype: str
  schema: Schema

  @property
  def is_image(self) -> bool:
    """Whether the input is an encoded image."""
    return isinstance(self.schema, ImageSchema)

  @property
  def value_range(self) -> tuple[float, ...] | None:
    """The argument of `decoding.decode`."""
    schema = self.schema
    return schema.value_range if isinstance(schema, ImageSchema) else None


class Reader(Records):
  """Reads and decodes examples of one split by position."""

  def __init__(
    self, features: Features, builder: str, data_dir: str, split: str, size: int
  ):
    super().__init__(features.name, builder, data_dir, split, size)
    self.features = features

  def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the batch of some rows; see `Source.read`."""
    features = self.features
    schema = features.schema
    examples = self.examples(rows)
    try:
      inputs = np.stack([self._input(example) for example in examples])
      targets = np.asarray(
        [example[features.target_feature] for example in examples],
        np.int32 if schema.target == "label" else np.float32,
      )
    except (*DAMAGE, decoding.UnreadableError) as error:
      raise self.damaged(error) from error
    batch = {schema.input: inputs, schema.target: targets}
    check_values(batch, schema, features.name)
    return batch

  def labels(self) -> np.ndarray | None:
    """Returns the labels of all examples, int32 `[N]`; decodes no images."""
    if self.features.schema.target != "label":
      return None
    name = self.features.target_feature
    labels = [
      example[name] for rows in self.pieces() for example in self.examples(rows)
    ]
    return np.asarray(labels, np.int32)

  def decoders(self) -> Any:
    """Returns the decoders: images stay encoded."""
    tfds: Any = import_tfds()
    if not self.features.is_image:
      return None
    return {self.features.input_feature: tfds.decode.SkipDecoding()}

  def _input(self, example: Mapping[str, Any]) -> np.ndarray:
    value = example[self.features.input_feature]
    if self.features.is_image:
      return decoding.decode(
        value, self.features.shape, self.features.value_range
      )
    return np.asarray(value, np.float32).reshape(-1)


def open_readers(builder, selection: Mapping[str, Any]) -> dict[str, Reader]:
  """Returns the reader of each split.

  Args:
    builder: a prepared builder of TFDS.
    selection: `builder`, `data_dir`, `input_feature`, `target_feature`,
      `image_size` and `value_range` of `tfds_source`.
  """
  features = _describe(builder, selection)
  sizes = split_sizes(builder, features.name)
  where = selection["builder"], selection["data_dir"]
  readers = {
    ours: Reader(features, *where, theirs, sizes[theirs])
    for theirs, ours in SPLITS.items()
    if sizes.get(theirs)
  }
  for reader in readers.values():
    reader.check(builder)
  test, target = readers.get("test"), features.target_feature
  is_labelled = features.schema.target == "label"
  if test and is_labelled and not test.has_targets(target):
    del readers["test"]
  return readers


def _describe(builder, selection: Mapping[str, Any]) -> Features:
  """Returns the features to read.

  Raises:
    UserError: a feature is unknown or of an unsupported type.
  """
  tfds: Any = import_tfds()

  info: Any = builder.info
  keys = info.supervised_keys or ("image", "label")
  names = (
    selection["input_feature"] or keys[0],
    selection["target_feature"] or keys[1],
  )
  known = dict(info.features)
  source, target = (
    lookup(known, name, f"feature of {info.name}") for name in names
  )
  is_image = isinstance(source, tfds.features.Image)
  shape = _shape(info.name, source, is_image, selection["image_size"])
  fields: dict[str, Any] = {"target": "target"}
  if isinstance(target, tfds.features.ClassLabel):
    fields = {"target": "label", "classes": tuple(target.names)}
  if is_image:
    limits = _value_range(info.name, source, selection["value_range"])
    schema: Schema = ImageSchema(**fields, value_range=limits)
  else:
    schema = ArraySchema(input="features", **fields)
    shape = (math.prod(shape),)
  dtype = "uint8" if is_image else "float32"
  return Features(info.name, *names, shape, dtype, schema)


def _value_range(
  name: str, feature: Any, value_range: Sequence[float]
) -> tuple[float, ...] | None:
  """Returns the values that become 0 and 255, None for images of 8 bits.

  Raises:
    UserError: images of 16 bits need a range of values, or others have more
      than 8 bits, of which Pillow reads the upper 8 alone.
  """
  if value_range and not decoding.is_range(value_range):
    raise UserError(
      "expected value_range to be two increasing numbers", f"got {value_range}"
    )
  bits = 8 * np.dtype(feature.np_dtype).itemsize
  if bits == 8:
    return None
  if bits != 16 or feature.shape[2] != 1:
    raise UserError(
      f"expected images of 8 bits, or gray ones of 16, in {name}",
      f"got {feature.shape[2]} channels of {bits} bits",
    )
  if not value_range:
    raise UserError(
      f"expected value_range, as the images of {name} have {bits} bits",
      "got ()",
      "for example value_range=(0, 65535)",
    )
  return tuple(value_range)


def _shape(
  name: str, feature: Any, is_image: bool, image_size: int
) -> tuple[int, ...]:
  """Returns the shape of one decoded input.

  Raises:
    UserError: the feature is not an image or a tensor of a known shape.
  """
  tfds: Any = import_tfds()

  shape: tuple[Any, ...] = tuple(feature.shape or ())
  if is_image:
    height, width, channels = shape
    channels = 1 if channels == 1 else 3
    shape = (image_size or height, image_size or width, channels)
  unsupported = (tfds.features.Text, tfds.features.FeaturesDict)
  if isinstance(feature, unsupported) or None in shape[2:]:
    raise UserError(
      f"expected an image or a numeric tensor in {name}",
      f"got {feature}",
      "select another feature with input_feature; tfds_text, tfds_pairs and "
      "tfds_corpus load texts",
    )
  if None in shape:
    raise UserError(
      f"expected image_size, as the images of {name} differ in size",
      "got 0",
      "for example image_size=224",
    )
  return shape
