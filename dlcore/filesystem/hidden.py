"""Entries of folders that a user did not put there."""

SYSTEM_NAMES = frozenset(
  {
    "__macosx",  # Zip archives of macOS.
    "@eadir",  # Synology.
    "$recycle.bin",
    "system volume information",
    "desktop.ini",
    "thumbs.db",
  }
)
"""Names that systems and archives add to folders, in lower case."""


def is_hidden(name: str) -> bool:
  """Returns whether a name begins with a dot or is that of a system."""
  return name.startswith(".") or name.lower() in SYSTEM_NAMES
