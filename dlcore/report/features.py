"""What a convolutional network looks for, and what it sees in one image."""

from collections.abc import Mapping

import numpy as np

from dlcore.report import images, markup
from dlcore.report.markup import Markup, tag
from dlcore.report.predictions import displayable
from dlcore.report.run import Run

LAYERS = 4
"""How many convolutions are shown, from the first to the last."""

MAPS = 16
FILTERS = 64


def arrays(
  image: np.ndarray, kernel: np.ndarray, maps: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns the arrays of `features.npz`, all uint8.

  Args:
    image: an input `[Y, X, C]`, uint8 or float.
    kernel: of the first convolution, `[KY, KX, C, F]`.
    maps: what convolutions made of the image, `[Y, X, C]`, in their order.

  Returns:
    `image` `[Y, X, C]`; `filters` `[F, KY, KX, C]`, 0 in the middle of the
    scale, which is the same for all; and for a few of the convolutions
    `maps/PATH` `[M, Y, X]`, each from its least to its greatest value.
  """
  kernel = np.moveaxis(np.asarray(kernel, np.float32), -1, 0)[:FILTERS]
  largest = max(float(np.abs(kernel).max()), 1e-30)
  paths = list(maps)
  chosen = np.unique(np.linspace(0, len(paths) - 1, LAYERS).round().astype(int))
  return {
    "image": displayable(np.asarray(image)[None])[0],
    "filters": np.rint(127.5 * (1 + kernel / largest)).astype(np.uint8),
    **{f"maps/{paths[i]}": _scaled(maps[paths[i]]) for i in chosen},
  }


def features(run: Run) -> Markup | None:
  """Returns the filters of the first convolution, and feature maps."""
  found = run.features
  if not found:
    return None
  rows = [
    _row("input", found["image"][None]),
    _row("filters of the first convolution", found["filters"]),
  ]
  for name, maps in found.items():
    if name.startswith("maps/"):
      rows.append(_row(name.removeprefix("maps/"), maps[..., None]))
  note = (
    "Filters share one scale, with 0 in the middle; a map goes from its least "
    f"to its greatest value. Of the convolutions at most {LAYERS} are shown, "
    f"of each at most {MAPS} channels."
  )
  return markup.section(
    "Filters and feature maps", tag("p", note, class_="note"), *rows
  )


def _scaled(maps: np.ndarray) -> np.ndarray:
  """Returns some channels of `[Y, X, C]` as uint8 `[M, Y, X]`."""
  maps = np.moveaxis(np.asarray(maps, np.float32), -1, 0)[:MAPS]
  maps = np.nan_to_num(maps, posinf=0.0, neginf=0.0)
  low = maps.min((1, 2), keepdims=True)
  span = maps.max((1, 2), keepdims=True) - low
  return np.rint(255 * (maps - low) / np.maximum(span, 1e-30)).astype(np.uint8)


def _row(title: str, pictures: np.ndarray) -> Markup:
  shown = [
    tag("img", src=images.data_uri(images.thumbnail(picture)), alt="")
    for picture in pictures
  ]
  return tag(
    "figure",
    tag("figcaption", title),
    tag("div", *shown, class_="maps"),
  )
