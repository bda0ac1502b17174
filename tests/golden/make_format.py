"""Writes format.safetensors, all dtypes as the safetensors package writes them.

Requires torch and safetensors: `python tests/golden/make_format.py`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file


def make() -> None:
  """Writes a small tensor of every dtype, unusual names and an empty tensor."""
  arrays = {
    "b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a": torch.ones(3, dtype=torch.bfloat16),
    'é"x\n': torch.tensor(5, dtype=torch.int64),
    "c": torch.tensor([True, False, True]),
    "h": torch.full((2, 2), 1.5, dtype=torch.float16),
    "d": torch.zeros(0, 4, dtype=torch.float64),
    "u8": torch.tensor([1, 2, 3], dtype=torch.uint8),
    "i8": torch.tensor([-1], dtype=torch.int8),
    "i16": torch.tensor([-2], dtype=torch.int16),
    "i32": torch.tensor([7], dtype=torch.int32),
    "f64": torch.tensor([0.5], dtype=torch.float64),
    "u16": torch.tensor([3], dtype=torch.uint16),
    "u32": torch.tensor([4], dtype=torch.uint32),
    "u64": torch.tensor([5], dtype=torch.uint64),
  }
  path = Path(__file__).with_name("format.safetensors")
  save_file(arrays, path, {"format": "pt"})


if __name__ == "__main__":
  make()
