"""The import of TensorFlow Datasets."""

import functools
import gc
from types import ModuleType


@functools.cache  # Once in a process.
def import_tfds() -> ModuleType:
  """Imports TensorFlow Datasets while the garbage collector is off.

  Its builders of texts and translations, such as GLUE and WMT, are known only
  once their packages are imported.

  During its import the package replaces Python's `__import__` by one that
  refuses relative imports. The finalizers of the locks of `multiprocessing`
  import relatively, and would print a traceback each.
  """
  gc.collect()
  was_enabled = gc.isenabled()
  gc.disable()
  try:
    import tensorflow_datasets
    import tensorflow_datasets.text
    import tensorflow_datasets.translate
  finally:
    if was_enabled:
      gc.enable()
  return tensorflow_datasets
