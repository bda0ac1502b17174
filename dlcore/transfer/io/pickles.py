"""Pickled weights are refused: unpickling runs code.

The message contains a command that converts them on a machine with PyTorch.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from dlcore.errors import UserError

SUFFIXES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""File name suffixes of pickles."""

CONVERT = (
  "import sys, torch; from safetensors.torch import save_file; "
  "*paths, output = sys.argv[1:]; "
  "bare = lambda w: next((bare(w[k]) "
  'for k in ("state_dict", "model") if isinstance(w.get(k), dict)), w); '
  'read = lambda path: torch.load(path, map_location="cpu", '
  "weights_only=True); "
  "tensors = {k: v.detach().clone().contiguous() for path in paths "
  "for k, v in bare(read(path)).items() if isinstance(v, torch.Tensor)}; "
  'tensors or sys.exit("no tensors by name"); '
  'save_file(tensors, output, {"format": "pt"})'
)
"""Python code that merges pickles into one safetensors file.

A training checkpoint nests the weights under "state_dict" or "model". Tensors
are cloned because a safetensors file cannot share storage between them."""

SHARD = re.compile(r"-\d+-of-(\d{1,9})\.")
"""Part of the file names of a model that is split over several files, with
their number."""


def refusal(paths: Sequence[Path], output: Path) -> UserError:
  """Returns the error for pickles, with the command that converts them.

  Args:
    paths: the pickles, all parts of one model.
    output: path of the safetensors file that the command writes.
  """
  arguments = [CONVERT, *map(str, paths), str(output)]
  more = f", and {len(paths) - 1} more" if paths[1:] else ""
  return UserError(
    "expected weights as .safetensors or .npz, which cannot run code",
    f"got {paths[0]}, a pickle{more}",
    f"on a machine with PyTorch, run: python -c {shlex.join(arguments)}",
  )


def in_folder(folder: Path) -> list[Path]:
  """Returns the PyTorch files in a folder: the single file, or the shards."""
  paths = sorted(folder.glob("pytorch_model*"))
  paths = [path for path in paths if path.suffix in SUFFIXES]
  single = [path for path in paths if not SHARD.search(path.name)]
  return single[:1] or paths
