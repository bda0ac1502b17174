"""Reading of many image files, and the report of unreadable ones."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.data import bad_examples
from dlcore.data.images import decoding
from dlcore.data.images.listing import Item
from dlcore.data.threads import map_in_threads


class Attempts(NamedTuple):
  """Results of reading the images of a split."""

  results: list[tuple[Item, Any]]
  errors: list[tuple[Item, str]]
  """Unreadable images and the reasons."""


def attempt(
  function: Callable[[pathlib.Path], Any],
  items: Sequence[Item],
  errors: Sequence[tuple[Item, str]] = (),
  map_files: Callable[..., list[Any]] = map_in_threads,
) -> Attempts:
  """Calls `function(path)` for every item and collects results and errors.

  Args:
    function: never returns None.
    items: the image files.
    errors: of earlier calls, to which the new ones are added.
    map_files: `(function, files) -> results`, such as `cache.per_file`. Errors
      are not cached, as permissions and disks may be repaired.
  """
  reasons = {}

  def one(file: pathlib.Path) -> Any:
    try:
      return function(file)
    except decoding.UnreadableError as error:
      reasons[file] = str(error)
      return None

  values = map_files(one, [item.path for item in items])
  return Attempts(
    [
      (item, value)
      for item, value in zip(items, values, strict=True)
      if item.path not in reasons
    ],
    [
      *errors,
      *((item, reasons[item.path]) for item in items if item.path in reasons),
    ],
  )


def report_unreadable(
  parts: Mapping[str, Attempts], on_bad: str, has_classes: bool = True
) -> list[str]:
  """Returns a note on the skipped images, if there are any.

  Args:
    parts: results by split.
    on_bad: `"error"` or `"skip"`.
    has_classes: whether the label of an image is the name of its class.

  Raises:
    UserError: `on_bad` is "error", or a class or split has no readable image.
  """
  errors, empty = [], set()
  for name, part in parts.items():
    errors += [(str(item.path), reason) for item, reason in part.errors]
    if has_classes:
      empty |= _empty_classes(part)
    if not part.results:
      empty.add(name)
  listed = bad_examples.shorten(sorted(empty))
  return bad_examples.report(
    errors,
    on_bad,
    noun="unreadable images",
    expected=f"expected readable images{listed and ' in ' + listed}",
    remedy="fix or remove them"
    + ("" if empty else ', or skip them with on_bad="skip"'),
    empty=bool(empty),
  )


def _empty_classes(part: Attempts) -> set[str]:
  """Returns the folders or names of the classes without a readable image."""
  readable = {item.label for item, _ in part.results}
  return {
    str(item.path.parent) if item.is_in_class_folder else repr(item.label)
    for item, _ in part.errors
    if item.label and item.label not in readable
  }
