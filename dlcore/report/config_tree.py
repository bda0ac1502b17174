"""Settings of a config by dotted path, as text."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

MAX_LEAVES = 4000
MAX_LENGTH = 300
"""Characters of a setting, and of its path."""


def leaves(tree: Mapping[str, Any]) -> dict[str, str]:
  """Returns the settings of a tree as text, by dotted path.

  The result is bounded, however deep and wide the tree is.
  """
  settings: dict[str, str] = {}
  stack: list[tuple[str, Any]] = [("", tree)]
  while stack and len(settings) < MAX_LEAVES:
    path, value = stack.pop()
    if isinstance(value, Mapping) and (value or not path):
      entries = [
        (f"{path}.{key}"[:MAX_LENGTH], entry)
        for key, entry in itertools.islice(value.items(), MAX_LEAVES)
      ]
      stack += reversed(entries)
    else:
      settings[path[1:]] = _format_setting(value)
  return settings


def _format_setting(value: Any) -> str:
  text = value if isinstance(value, str) else json.dumps(value)
  return text[:MAX_LENGTH]
