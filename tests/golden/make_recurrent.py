"""Golden files of recurrent networks, from torch.nn's layers.

Sequences of unequal lengths pass through `pack_padded_sequence`. Inputs after
the last valid step are random and must have no effect.
"""

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

STACKED = {"hidden_size": 9, "num_layers": 2, "bidirectional": True}
CASES = {
  "torch/gru": {
    "plain": {"input_size": 5, "hidden_size": 12},
    "stacked": {"input_size": 7, **STACKED},
    "classifier": {"input_size": 4, **STACKED, "head": "classifier"},
  },
  "torch/lstm": {
    "plain": {"input_size": 5, "hidden_size": 12},
    "stacked": {"input_size": 7, **STACKED},
    "deep": {"input_size": 3, "hidden_size": 8, "num_layers": 3},
    "lm": {"input_size": 10, "hidden_size": 10, "num_layers": 2, "head": "lm"},
  },
  "torch/rnn": {
    "tanh": {"input_size": 7, **STACKED},
    "relu": {"input_size": 7, **STACKED, "nonlinearity": "relu"},
  },
}
FAMILIES = tuple(CASES)
LENGTHS = torch.tensor([11, 4, 1, 8])
VOCAB_SIZE, CLASSES = 23, 6


class Network(nn.Module):
  """Recurrent layers, with an embedding and an output layer if configured."""

  def __init__(self, layers: nn.RNNBase, config: dict[str, Any]):
    super().__init__()
    self.rnn, self.head = layers, config.get("head")
    directions = 2 if layers.bidirectional else 1
    if self.head == "lm":
      self.encoder = nn.Embedding(VOCAB_SIZE, layers.input_size)
    if self.head:
      count = VOCAB_SIZE if self.head == "lm" else CLASSES
      self.decoder = nn.Linear(directions * layers.hidden_size, count)

  def forward(self, inputs):
    x = self.encoder(inputs) if self.head == "lm" else inputs
    packed = pack_padded_sequence(x, LENGTHS, True, enforce_sorted=False)
    packed, carry = self.rnn(packed)
    outputs, _ = pad_packed_sequence(packed, True, total_length=x.shape[1])
    carry = carry if isinstance(carry, tuple) else (carry,)
    carries = {f"carry_{i}": array for i, array in enumerate(carry)}
    if self.head is None:
      return carries | {"hidden": outputs}
    if self.head == "classifier":
      directions = 2 if self.rnn.bidirectional else 1
      outputs = torch.cat(list(carry[0][-directions:]), dim=-1)
    return carries | {"logits": self.decoder(outputs)}


def make(family: str) -> Iterator[tuple[str, dict[str, str], dict]]:
  """Yields the case, the metadata and the arrays of each file."""
  kind = family.removeprefix("torch/").upper()
  for name, config in CASES[family].items():
    torch.manual_seed(0)
    settings = {k: v for k, v in config.items() if k != "head"}
    layers = getattr(nn, kind)(batch_first=True, **settings)
    model = Network(layers, config).eval()
    with torch.no_grad():
      for parameter in model.parameters():
        parameter.copy_(0.4 * torch.randn(parameter.shape))
    published = {"model_type": family, "architectures": [kind], **config}
    if config.get("head") == "lm":
      published["vocab_size"] = VOCAB_SIZE
      inputs = torch.randint(VOCAB_SIZE, (len(LENGTHS), 11))
    else:
      inputs = torch.randn(len(LENGTHS), 11, config["input_size"])
      inputs.requires_grad_()
    if config.get("head") == "classifier":
      published["num_classes"] = CLASSES
    metadata = {"family": family, "config": json.dumps(published)}
    yield name, metadata, _arrays(model, inputs)


def _arrays(model: Network, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
  outputs = model(inputs)
  cotangents = {name: torch.randn(y.shape) for name, y in outputs.items()}
  sum((y * cotangents[name]).sum() for name, y in outputs.items()).backward()
  mask = torch.arange(inputs.shape[1]) < LENGTHS[:, None]
  arrays = {"input/inputs": inputs, "input/attention_mask": mask.long()}
  if inputs.grad is not None:
    arrays["gradient/inputs"] = inputs.grad
  for name, parameter in model.named_parameters():
    name = name if model.head else name.removeprefix("rnn.")
    arrays[f"weight/{name}"] = parameter
    arrays[f"gradient/{name}"] = parameter.grad
  for name, output in outputs.items():
    arrays[f"output/{name}"] = output
    arrays[f"cotangent/{name}"] = cotangents[name]
  return arrays
