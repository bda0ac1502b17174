"""Writes lora.safetensors: `python tests/golden/make_lora.py`.

Requires torch, peft and safetensors, which the tests do not. For a linear layer
and a convolution, and each of `CASES`, the file has the arrays
`LAYER/CASE/NAME` of PEFT in float64, in the layout of PyTorch: weight, bias, A,
B, perhaps magnitude, input, output, cotangent, the gradients of A, B and
magnitude, and merged, the weight with its update.
"""

from pathlib import Path

import peft
import safetensors.torch
import torch
from torch import nn

RANK, ALPHA = 3, 5.0
CASES = {
  "plain": {},
  "stabilized": {"use_rslora": True},
  "dora": {"use_dora": True},
}
LAYERS = {
  "linear": (lambda: nn.Linear(6, 5), (4, 6)),
  "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 5)),
}


def main() -> None:
  """Writes the file."""
  torch.manual_seed(0)
  arrays = {}
  for layer, (make, shape) in LAYERS.items():
    for case, settings in CASES.items():
      found = compute(make(), torch.randn(shape, dtype=torch.float64), settings)
      arrays |= {f"{layer}/{case}/{name}": x for name, x in found.items()}
  tensors = {
    name: x.detach().clone().contiguous() for name, x in arrays.items()
  }
  path = Path(__file__).parent / "lora.safetensors"
  safetensors.torch.save_file(
    tensors, path, {"rank": str(RANK), "alpha": str(ALPHA)}
  )
  print(f"{path.stat().st_size:>8,} bytes  {path.name}")


def compute(
  layer: nn.Module, x: torch.Tensor, settings: dict
) -> dict[str, torch.Tensor]:
  """Returns the arrays of a layer with an adapter."""
  config = peft.LoraConfig(
    r=RANK, lora_alpha=ALPHA, target_modules=["0"], **settings
  )
  model = peft.inject_adapter_in_model(config, nn.Sequential(layer)).double()
  adapted = model[0]
  a, b = adapted.lora_A["default"].weight, adapted.lora_B["default"].weight
  with torch.no_grad():
    b.normal_(std=0.3)  # It begins at 0.
  arrays = {"weight": layer.weight, "bias": layer.bias, "a": a, "b": b}
  trained = {"a": a, "b": b}
  if settings.get("use_dora"):
    magnitude = adapted.lora_magnitude_vector["default"].weight
    with torch.no_grad():
      magnitude.mul_(1 + 0.1 * torch.randn_like(magnitude))
    trained["magnitude"] = arrays["magnitude"] = magnitude
  output = model(x)
  cotangent = torch.randn_like(output)
  output.backward(cotangent)
  arrays |= {"input": x, "output": output, "cotangent": cotangent}
  arrays |= {f"gradient/{name}": p.grad for name, p in trained.items()}
  arrays = {name: array.detach().clone() for name, array in arrays.items()}
  adapted.merge()
  return arrays | {"merged": adapted.get_base_layer().weight}


if __name__ == "__main__":
  main()
