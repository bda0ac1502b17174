"""Golden files of encoders of text and images.

They contain the outputs of transformers' classes, and of the two vision
transformers below in the names of timm and of the original release, in float32,
for random weights.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import safetensors.torch
import torch
import transformers
from torch import nn
from torch.nn import functional


class Case(NamedTuple):
  """One model of transformers with random weights."""

  name: str
  model: str
  """Name of a class of transformers."""

  settings: dict[str, Any]
  """Arguments of its config class."""

  inputs: Callable[[Any], dict[str, torch.Tensor]]
  """`config -> arguments`."""


def text(*, padded: bool = True, types: int = 0) -> Callable:
  """Returns a sampler of ids, padded on the left, the right and both sides."""

  def sample(config) -> dict[str, torch.Tensor]:
    inputs = {"input_ids": torch.randint(1, config.vocab_size, (3, 7))}
    if types:
      inputs["token_type_ids"] = torch.randint(0, types, (3, 7))
    if padded:
      mask = torch.ones(3, 7, dtype=torch.long)
      mask[0, :2] = mask[1, 4:] = mask[2, :1] = mask[2, 6:] = 0
      inputs["attention_mask"] = mask
    return inputs

  return sample


def images(*shape: int) -> Callable:
  """Returns a sampler of images `[C, Y, X]`."""
  return lambda config: {"pixel_values": torch.randn(2, *shape)}


BERT = {
  "vocab_size": 41,
  "hidden_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "intermediate_size": 20,
  "max_position_embeddings": 11,
}
DISTILBERT = {
  "vocab_size": 37,
  "dim": 24,
  "n_layers": 2,
  "n_heads": 4,
  "hidden_dim": 28,
  "max_position_embeddings": 9,
}
VIT = {
  "hidden_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "intermediate_size": 20,
  "patch_size": 4,
  "image_size": 12,
}

CASES = {
  "bert": (
    Case("base", "BertModel", BERT, text(types=2)),
    Case(
      "classifier",
      "BertForSequenceClassification",
      {
        **BERT,
        "num_hidden_layers": 1,
        "hidden_size": 18,
        "num_attention_heads": 2,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-2,
        "type_vocab_size": 3,
        "num_labels": 5,
      },
      text(types=3),
    ),
    Case(
      "mlm",
      "BertForMaskedLM",
      {**BERT, "num_hidden_layers": 1},
      text(padded=False),
    ),
    Case(
      "tokens",
      "BertForTokenClassification",
      {
        **BERT,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "hidden_act": "relu",
      },
      text(),
    ),
  ),
  "distilbert": (
    Case("base", "DistilBertModel", DISTILBERT, text()),
    Case(
      "classifier",
      "DistilBertForSequenceClassification",
      {
        **DISTILBERT,
        "n_layers": 1,
        "n_heads": 3,
        "activation": "relu",
        "num_labels": 3,
      },
      text(),
    ),
    Case(
      "mlm",
      "DistilBertForMaskedLM",
      {**DISTILBERT, "n_layers": 1},
      text(padded=False),
    ),
  ),
  "vit": (
    Case(
      "base",
      "ViTModel",
      {**VIT, "image_size": (8, 12), "qkv_bias": False},
      images(3, 8, 12),
    ),
    Case(
      "classifier",
      "ViTForImageClassification",
      {
        **VIT,
        "num_hidden_layers": 1,
        "num_channels": 1,
        "num_labels": 5,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-2,
      },
      images(1, 12, 12),
    ),
    Case(
      "resized",
      "ViTForImageClassification",
      {**VIT, "num_hidden_layers": 1},
      images(3, 20, 8),
    ),
  ),
}

SIZED = {
  "base": {"depth": 2, "embed_dim": 24, "num_heads": 3, "mlp_ratio": 1.5},
  "gray": {"depth": 1, "embed_dim": 16, "num_heads": 2, "qkv_bias": False},
}
"""Sizes of the vision transformers of timm."""


def make(family: str) -> Iterator[tuple[str, dict, dict[str, torch.Tensor]]]:
  """Yields the name, the metadata and the arrays of each golden file."""
  if family in CASES:
    for case in CASES[family]:
      yield _transformers(family, case)
  elif family == "timm/vit":
    for name, sizes in SIZED.items():
      yield _timm(name, sizes)
  else:
    yield _original()


def _transformers(family: str, case: Case):
  torch.manual_seed(0)
  model_class = getattr(transformers, case.model)
  config = model_class.config_class(
    **case.settings, attn_implementation="eager"
  )
  model = model_class(config).eval()
  config.architectures = [case.model]
  weights = dict(model.named_parameters())
  randomize(weights)
  names = published_names(model, weights)
  arguments = case.inputs(config)
  inputs = dict(arguments)
  if "pixel_values" in arguments:
    inputs = {"images": arguments["pixel_values"].permute(0, 2, 3, 1)}
    arguments["interpolate_pos_encoding"] = case.name == "resized"
  outputs = watched(model, arguments)
  named = {names[name]: weight for name, weight in weights.items()}
  metadata = {"family": family, "config": config.to_json_string()}
  return case.name, metadata, golden(named, inputs, outputs)


def randomize(weights: dict[str, torch.Tensor]) -> None:
  """Initializes parameters so that each one has an effect."""
  with torch.no_grad():
    for name, weight in weights.items():
      if re.search(r"norm\w*(\.|/)(weight|scale)$|LayerNorm.*weight$", name):
        weight.uniform_(0.5, 1.5)
      elif weight.ndim < 2 or "bias" in name:
        weight.normal_(std=0.3)
      elif re.search(r"embeddings\.weight$|cls|pos", name):
        weight.normal_(std=0.5)
      else:  # Larger values would saturate softmax and norms.
        weight.normal_(std=weight[0].numel() ** -0.5)


def published_names(model, weights) -> dict[str, str]:
  """Returns the names in the file that transformers writes, by parameter."""
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    published = safetensors.torch.load_file(f"{folder}/model.safetensors")
  names = {}
  for name, weight in weights.items():
    names[name] = next(
      other
      for other, array in published.items()
      if array.shape == weight.shape and torch.equal(array, weight)
    )
  return names


def watched(model, arguments) -> dict[str, torch.Tensor]:
  """Returns all outputs by name, with the outputs of blocks as hidden states.

  The last hidden state of transformers may be normalized, so hooks are used.
  """
  states: dict[str, torch.Tensor] = {}

  def store(i):
    def hook(module, inputs, output):
      if i == 0:
        states["hidden_states_0"] = inputs[0]
      last = output[0] if isinstance(output, tuple) else output
      states[f"hidden_states_{i + 1}"] = last

    return hook

  hooks = [
    module.register_forward_hook(store(int(name.rsplit(".", 1)[1])))
    for name, module in model.named_modules()
    if re.search(r"(^|\.)layers?\.\d+$", name)
  ]
  result = model(**arguments, output_attentions=True)
  for hook in hooks:
    hook.remove()
  maps = {f"attentions_{i}": a for i, a in enumerate(result.attentions)}
  outputs = {**states, **maps}
  if "logits" in result:
    return outputs | {"logits": result.logits}
  outputs["hidden"] = result.last_hidden_state
  if getattr(result, "pooler_output", None) is not None:
    outputs["pooled"] = result.pooler_output
  return outputs


def golden(weights, inputs, outputs) -> dict[str, torch.Tensor]:
  """Returns the arrays of a golden file, with cotangents and gradients.

  Every output of the model has a cotangent; the loss is the sum of all.
  """
  final = [n for n in ("logits", "hidden", "pooled") if n in outputs]
  cotangents = {name: torch.randn(outputs[name].shape) for name in final}
  loss = sum((outputs[n] * c).sum() for n, c in cotangents.items())
  gradients = torch.autograd.grad(loss, list(weights.values()))
  named = zip(weights, gradients, strict=True)
  return {
    **{f"weight/{name}": weight for name, weight in weights.items()},
    **{f"input/{name}": array for name, array in inputs.items()},
    **{f"output/{name}": array for name, array in outputs.items()},
    **{f"cotangent/{name}": array for name, array in cotangents.items()},
    **{f"gradient/{name}": gradient for name, gradient in named},
  }


class VisionTransformer(nn.Module):
  """ViT of Dosovitskiy et al. 2021, arXiv:2010.11929, in the names of timm."""

  def __init__(
    self,
    *,
    img_size: int,
    patch_size: int,
    in_chans: int,
    num_classes: int,
    embed_dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4,
    qkv_bias: bool = True,
  ):
    """Creates the parameters; see timm's class for the arguments."""
    super().__init__()
    self.patch_embed = nn.Module()
    self.patch_embed.proj = nn.Conv2d(
      in_chans, embed_dim, patch_size, patch_size
    )
    count = (img_size // patch_size) ** 2
    self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
    self.pos_embed = nn.Parameter(torch.zeros(1, count + 1, embed_dim))
    hidden = int(embed_dim * mlp_ratio)
    blocks = [
      TimmBlock(embed_dim, num_heads, hidden, qkv_bias) for _ in range(depth)
    ]
    self.blocks = nn.ModuleList(blocks)
    self.norm = nn.LayerNorm(embed_dim, 1e-6)
    self.head = nn.Linear(embed_dim, num_classes)

  def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns all outputs by name."""
    x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
    x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
    x = x + self.pos_embed
    outputs = {"hidden_states_0": x}
    for i, block in enumerate(self.blocks):
      x, outputs[f"attentions_{i}"] = block(x)
      outputs[f"hidden_states_{i + 1}"] = x
    return outputs | {"logits": self.head(self.norm(x)[:, 0])}


class TimmBlock(nn.Module):
  """A block in the names of timm, with fused query, key and value."""

  def __init__(self, width: int, heads: int, hidden: int, qkv_bias: bool):
    """Creates the parameters."""
    super().__init__()
    self.heads = heads
    self.norm1 = nn.LayerNorm(width, 1e-6)
    self.attn = nn.Module()
    self.attn.qkv = nn.Linear(width, 3 * width, qkv_bias)
    self.attn.proj = nn.Linear(width, width)
    self.norm2 = nn.LayerNorm(width, 1e-6)
    self.mlp = nn.Module()
    self.mlp.fc1 = nn.Linear(width, hidden)
    self.mlp.fc2 = nn.Linear(hidden, width)

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns tokens and attention weights."""
    batch, length, width = x.shape
    qkv = self.attn.qkv(self.norm1(x))
    shape = (batch, length, 3, self.heads, width // self.heads)
    query, key, value = qkv.reshape(shape).permute(2, 0, 3, 1, 4)
    scale = query.shape[-1] ** -0.5
    weights = (scale * query @ key.transpose(-1, -2)).softmax(-1)
    y = (weights @ value).transpose(1, 2).reshape(batch, length, width)
    x = x + self.attn.proj(y)
    y = self.mlp.fc2(functional.gelu(self.mlp.fc1(self.norm2(x))))
    return x + y, weights


def _timm(name: str, sizes: dict[str, Any]):
  torch.manual_seed(0)
  channels = 1 if name == "gray" else 3
  model = VisionTransformer(
    img_size=8, patch_size=4, in_chans=channels, num_classes=5, **sizes
  )
  weights = dict(model.named_parameters())
  randomize(weights)
  x = torch.randn(2, channels, 8, 8)
  config = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 5,
    "model_args": {
      "img_size": 8,
      "patch_size": 4,
      "in_chans": channels,
      **sizes,
    },
  }
  metadata = {"family": "timm/vit", "config": json.dumps(config)}
  inputs = {"images": x.permute(0, 2, 3, 1)}
  return name, metadata, golden(weights, inputs, model(x))


WIDTH, HEADS, HIDDEN, DEPTH, PATCH, CLASSES = 18, 3, 20, 2, 4, 4


def _original():
  """Returns a golden file in the original names, including `pre_logits`."""
  torch.manual_seed(0)
  weights = {
    name: torch.empty(shape, requires_grad=True)
    for name, shape in _original_shapes().items()
  }
  randomize(weights)
  x = torch.randn(2, 8, 12, 3)
  settings = {
    "num_classes": CLASSES,
    "patch_size": PATCH,
    "width": WIDTH,
    "depth": DEPTH,
    "num_heads": HEADS,
    "mlp_dim": HIDDEN,
    "pooler": True,
    "activation": "gelu",
  }
  metadata = {"family": "npz/vit", "settings": json.dumps(settings)}
  outputs = _original_outputs(weights, x)
  return "base", metadata, golden(weights, {"images": x}, outputs)


def _original_shapes() -> dict[str, tuple[int, ...]]:
  def dense(name: str, *shape: int, bias=None):
    return {f"{name}/kernel": shape, f"{name}/bias": bias or shape[-1:]}

  def norm(name: str):
    return {f"{name}/scale": (WIDTH,), f"{name}/bias": (WIDTH,)}

  size = WIDTH // HEADS
  shapes = {
    "cls": (1, 1, WIDTH),
    "Transformer/posembed_input/pos_embedding": (1, 7, WIDTH),
    **dense("embedding", PATCH, PATCH, 3, WIDTH),
    **norm("Transformer/encoder_norm"),
    **dense("pre_logits", WIDTH, WIDTH),
    **dense("head", WIDTH, CLASSES),
  }
  for i in range(DEPTH):
    block = f"Transformer/encoderblock_{i}"
    attention = f"{block}/MultiHeadDotProductAttention_1"
    for name in ("query", "key", "value"):
      shapes |= dense(
        f"{attention}/{name}", WIDTH, HEADS, size, bias=(HEADS, size)
      )
    shapes |= dense(f"{attention}/out", HEADS, size, WIDTH)
    shapes |= norm(f"{block}/LayerNorm_0") | norm(f"{block}/LayerNorm_2")
    shapes |= dense(f"{block}/MlpBlock_3/Dense_0", WIDTH, HIDDEN)
    shapes |= dense(f"{block}/MlpBlock_3/Dense_1", HIDDEN, WIDTH)
  return shapes


def _original_outputs(weights, x) -> dict[str, torch.Tensor]:
  def dense(name: str, x, equation: str = "btd,df->btf"):
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    return torch.einsum(equation, x, kernel) + bias

  def norm(name: str, x):
    scale, bias = weights[f"{name}/scale"], weights[f"{name}/bias"]
    return functional.layer_norm(x, (WIDTH,), scale, bias, 1e-6)

  kernel = weights["embedding/kernel"].permute(3, 2, 0, 1)
  pixels = x.permute(0, 3, 1, 2)
  x = functional.conv2d(pixels, kernel, weights["embedding/bias"], PATCH)
  x = x.flatten(2).transpose(1, 2)
  x = torch.cat([weights["cls"].expand(len(x), -1, -1), x], 1)
  x = x + weights["Transformer/posembed_input/pos_embedding"]
  outputs = {"hidden_states_0": x}
  for i in range(DEPTH):
    block = f"Transformer/encoderblock_{i}"
    attention = f"{block}/MultiHeadDotProductAttention_1"
    y = norm(f"{block}/LayerNorm_0", x)
    query, key, value = (
      dense(f"{attention}/{name}", y, "btd,dhk->bthk")
      for name in ("query", "key", "value")
    )
    logits = torch.einsum("bthk,bshk->bhts", query, key)
    maps = (logits / query.shape[-1] ** 0.5).softmax(-1)
    y = torch.einsum("bhts,bshk->bthk", maps, value)
    x = x + dense(f"{attention}/out", y, "bthk,hkd->btd")
    y = dense(f"{block}/MlpBlock_3/Dense_0", norm(f"{block}/LayerNorm_2", x))
    y = functional.gelu(y, approximate="tanh")
    x = x + dense(f"{block}/MlpBlock_3/Dense_1", y)
    outputs[f"attentions_{i}"] = maps
    outputs[f"hidden_states_{i + 1}"] = x
  x = norm("Transformer/encoder_norm", x)[:, 0]
  x = torch.tanh(dense("pre_logits", x, "bd,df->bf"))
  return outputs | {"logits": dense("head", x, "bd,df->bf")}


FAMILIES = (*CASES, "timm/vit", "npz/vit")
