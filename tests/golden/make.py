"""Writes golden files: `python tests/golden/make.py FAMILY...`.

Needs torch, transformers, timm, torchvision and safetensors, which tests do not
(`make_convnets.py` tells how to install them beside a CPU build). Without a
family all are written. The files hold `weight/NAME`, `input/ARGUMENT`,
`output/WHAT` and `cotangent/WHAT`, whose product is the loss, and
`gradient/NAME` of it, in float32. In their metadata are

- `family`: a key of `FAMILIES`;
- `config`: its config.json, and `settings` of dlcore's model, what no config
  tells;
- `padded`: the outputs that were made 0 where the query is padding.

What a model returns is `hidden` and `pooled` without a head, else `logits`.
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
"""By family: yields `(case, metadata, arrays)`."""


def main(families: list[str]) -> None:
  """Writes `<family>_<case>.safetensors` beside this file."""
  for family in families or MAKERS:
    for case, metadata, arrays in MAKERS[family](family):
      name = f"{family.replace('/', '_')}_{case}.safetensors"
      path = Path(__file__).parent / name
      whole = {
        key: array.detach().clone().contiguous()
        for key, array in arrays.items()
      }
      safetensors.torch.save_file(whole, path, metadata)
      print(f"{path.stat().st_size:>8,} bytes  {name}")


if __name__ == "__main__":
  main(sys.argv[1:])
