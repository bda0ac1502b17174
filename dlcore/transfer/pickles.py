"""Pickles: they can run code, so they are converted where PyTorch is."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from dlcore.errors import UserError

ENDS = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Of the names of files that would run code when they are read."""

CONVERT = (
  "import sys, torch; from safetensors.torch import save_file; "
  "*paths, output = sys.argv[1:]; "
  "bare = lambda w: next((bare(w[k]) "
  'for k in ("state_dict", "model") if isinstance(w.get(k), dict)), w); '
  'read = lambda path: torch.load(path, map_location="cpu", '
  "weights_only=True); "
  "found = {k: v.detach().clone().contiguous() for path in paths "
  "for k, v in bare(read(path)).items() if isinstance(v, torch.Tensor)}; "
  'found or sys.exit("no arrays by name"); '
  'save_file(found, output, {"format": "pt"})'
)
"""What makes one safetensors file of pickles, where PyTorch is.

What was saved with the state of a training has the weights within it; arrays
that share their memory are copied, as a file has no shares."""

SHARD = re.compile(r"-\d+-of-\d+\.")
"""In the names of the files of a model that has several."""


def refused(paths: Sequence[Path], output: Path) -> UserError:
  """Returns what is told of pickles, with the line that converts them."""
  arguments = [CONVERT, *map(str, paths), str(output)]
  more = f", and {len(paths) - 1} more" if paths[1:] else ""
  return UserError(
    "expected weights as .safetensors or .npz, which cannot run code",
    f"got {paths[0]}, a pickle{more}",
    f"where PyTorch is, run: python -c {shlex.join(arguments)}",
  )


def within(folder: Path) -> list[Path]:
  """Returns the files of PyTorch in a folder: the whole one, or its parts."""
  found = sorted(folder.glob("pytorch_model*"))
  found = [path for path in found if path.suffix in ENDS]
  whole = [path for path in found if not SHARD.search(path.name)]
  return whole[:1] or found
