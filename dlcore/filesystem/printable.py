"""Text with paths, for the terminal."""


def printable(text: object) -> str:
  """Returns `str(text)` with escapes for bytes of paths that are not UTF-8.

  Python represents them by lone surrogates, at which `print` fails in most
  locales.
  """
  return str(text).encode("utf-8", "backslashreplace").decode()
