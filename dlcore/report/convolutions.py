"""Filters of the first convolution, and feature maps of one image."""

import numpy as np

from dlcore.report import markup, png
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run
from dlcore.report_arrays import MAX_CONVOLUTIONS, MAX_MAPS

NOTE = (
  "Filters share one scale, with 0 in the middle; each feature map is scaled "
  f"from its minimum to its maximum. At most {MAX_CONVOLUTIONS} convolutions "
  f"are shown, with at most {MAX_MAPS} channels each."
)


def convolutions(run: Run) -> Markup:
  """Returns the pictures of filters and feature maps."""
  rows = [
    _row("input", run.arrays["image"][None]),
    _row("filters of the first convolution", run.arrays["filters"]),
  ]
  rows += [
    _row(path, maps[..., None]) for path, maps in run.named("maps/").items()
  ]
  return markup.section(
    "Filters and feature maps", tag("p", NOTE, class_="note"), *rows
  )


def _row(title: str, pictures: np.ndarray) -> Markup:
  images = [
    tag("img", src=png.data_uri(png.thumbnail(picture)), alt="")
    for picture in pictures
  ]
  caption = tag("figcaption", title)
  return tag("figure", caption, tag("div", *images, class_="maps"))
