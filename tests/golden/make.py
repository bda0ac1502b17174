"""Writes golden files: `python tests/golden/make.py FAMILY...`.

Requires torch, transformers, timm, torchvision and safetensors, which the tests
do not (`make_convnets.py` documents their installation with a CPU build).
Without a family, all files are written. They contain `weight/NAME`,
`input/ARGUMENT`, `output/NAME` and `cotangent/NAME`, whose product is the loss,
and its `gradient/NAME`, in float32. Their metadata contains

- `family`: a key of `FAMILIES`;
- `config`: its config.json, and `settings`: fields of dlcore's model that no
  config.json contains;
- `padded`: the outputs that are set to 0 where the query is padding.

The output of a model is `hidden` and `pooled` without a head, else `logits`.
"""

import sys
from pathlib import Path

import make_convnets
import make_decoders
import make_encoders
import make_recurrent
import safetensors.torch

MAKERS = {
  family: maker.make
  for maker in (make_convnets, make_decoders, make_encoders, make_recurrent)
  for family in maker.FAMILIES
}
"""By family: a function that yields `(case, metadata, arrays)`."""


def main(families: list[str]) -> None:
  """Writes `<family>_<case>.safetensors` in the folder of this file."""
  for family in families or MAKERS:
    for case, metadata, arrays in MAKERS[family](family):
      name = f"{family.replace('/', '_')}_{case}.safetensors"
      path = Path(__file__).parent / name
      tensors = {
        key: array.detach().clone().contiguous()
        for key, array in arrays.items()
      }
      safetensors.torch.save_file(tensors, path, metadata)
      print(f"{path.stat().st_size:>8,} bytes  {name}")


if __name__ == "__main__":
  main(sys.argv[1:])
