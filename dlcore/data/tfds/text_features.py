"""The features of a data set of TensorFlow Datasets that are texts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.tfds.package import import_tfds
from dlcore.errors import UserError, lookup, nearest

TARGET = "label"
"""The feature that most data sets without `supervised_keys` have as target."""


class Columns(NamedTuple):
  """The features that are read as the texts and the target of an example."""

  texts: tuple[str, ...]
  """One, or both of a pair."""

  target: str

  classes: tuple[str, ...] = ()
  """Names of the classes; empty for a number."""


def find_columns(
  info: Any, *, text: str = "", pair: str = "", target: str = ""
) -> Columns:
  """Returns the texts and the target of a data set.

  The texts are the first of TFDS's `supervised_keys`, or else the only feature
  of text, or both of two. The target is the second of these keys, or else the
  feature `label` or the only class.

  Args:
    info: of a builder of TFDS.
    text: name of the feature of the texts, in place of these.
    pair: name of that of the second texts.
    target: name of that of the target.

  Raises:
    UserError: there are no or too many such features, or one is unknown or of
      another kind.
  """
  known, texts = dict(info.features), text_names(info)
  inputs, targets = _supervised(info)
  if pair and not text:
    raise UserError(
      "expected text with the first text of each pair", f"got {pair=} alone"
    )
  if text:
    chosen = (text, pair) if pair else (text,)
  elif inputs and texts.issuperset(inputs):
    chosen = inputs
  else:
    chosen = tuple(name for name in known if name in texts)
  _check_texts(info, chosen, texts)
  if len(chosen) not in (1, 2) or len(set(chosen)) < len(chosen):
    raise UserError(
      f"expected one feature of text in {info.name}, or two of a pair",
      f"got {', '.join(chosen) or 'none'}",
      "name them with text and pair",
    )
  target = target or _find_target(info, targets)
  feature = lookup(known, target, f"feature of {info.name}")
  return Columns(chosen, target, _classes(info, target, feature))


def find_sides(info: Any, *, source: str = "", target: str = "") -> list[str]:
  """Returns the features of the sources and of the targets.

  They are TFDS's `supervised_keys`, or else both of two features of text.

  Args:
    info: of a builder of TFDS.
    source: name of the feature of the sources, in place of the first.
    target: name of that of the targets, in place of the other.

  Raises:
    UserError: there are no two such features, or one is unknown.
  """
  texts = text_names(info)
  both = [name for names in _supervised(info) for name in names]
  if not texts.issuperset(both) or len(both) != 2:
    both = [name for name in dict(info.features) if name in texts]
  both = both if len(both) == 2 else []
  source = source or next((name for name in both if name != target), "")
  target = target or next((name for name in both if name != source), "")
  if not source or not target or source == target:
    raise UserError(
      f"expected source and target to name two features of {info.name}",
      f"got {source=}, {target=}",
      f"choose from: {', '.join(sorted(texts))}",
    )
  _check_texts(info, (source, target), texts)
  return [source, target]


def find_text(info: Any, text: str = "") -> str:
  """Returns the feature of running text.

  It is the first of TFDS's `supervised_keys`, or else the only feature of text.

  Args:
    info: of a builder of TFDS.
    text: name of the feature, in place of this.

  Raises:
    UserError: there is no or more than one such feature, or it is unknown.
  """
  texts = text_names(info)
  names = [text] if text else [k for k in _supervised(info)[0] if k in texts]
  names = names or sorted(texts)
  if len(names) != 1:
    raise UserError(
      f"expected text to name a feature of text of {info.name}",
      f"got {text!r}",
      f"choose from: {', '.join(names) or 'none'}",
    )
  _check_texts(info, names, texts)
  return names[0]


def text_names(info: Any) -> set[str]:
  """Returns the names of the features that are texts."""
  tfds: Any = import_tfds()
  return {
    name
    for name, feature in dict(info.features).items()
    if isinstance(feature, tfds.features.Text)
  }


def _find_target(info: Any, supervised: Sequence[str]) -> str:
  """Returns the feature of the target if no setting names it.

  Raises:
    UserError: there is no or more than one such feature.
  """
  known = dict(info.features)
  classes = [name for name, feature in known.items() if _is_class(feature)]
  for names in (supervised, [TARGET] if TARGET in known else classes):
    if len(names) == 1:
      return names[0]
  others = (name for name in known if name not in text_names(info))
  raise UserError(
    f"expected target to name a feature of {info.name}",
    "got an empty string",
    f"choose from: {', '.join(others)}",
  )


def _supervised(info: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns the names of the inputs and of the targets that TFDS registers."""
  keys = info.supervised_keys or ((), ())
  inputs, targets = (tuple(_flat(key)) for key in keys[:2])
  return inputs, targets


def _flat(key: Any) -> Iterable[str]:
  if isinstance(key, str):
    return [key]
  values = key.values() if isinstance(key, Mapping) else key
  return [name for value in values for name in _flat(value)]


def _check_texts(info: Any, names: Sequence[str], texts: set[str]) -> None:
  for name in names:
    if name not in texts:
      raise UserError(
        f"expected a feature of text of {info.name}",
        f"got {name!r}",
        nearest(name, texts),
      )


def _is_class(feature: Any) -> bool:
  tfds: Any = import_tfds()
  return isinstance(feature, tfds.features.ClassLabel)


def _classes(info: Any, name: str, feature: Any) -> tuple[str, ...]:
  """Returns the names of the classes of a target, empty for a number.

  Raises:
    UserError: the feature is neither.
  """
  if _is_class(feature):
    return tuple(feature.names)
  dtype = getattr(feature, "np_dtype", None)
  is_number = dtype is not None and np.issubdtype(dtype, np.number)
  if not is_number or feature.shape != ():
    raise UserError(
      f"expected a class or a number as the target of {info.name}",
      f"got {name!r}, {feature}",
      "name another feature with target",
    )
  return ()
