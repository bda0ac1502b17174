"""Golden files of decoders and encoder-decoders.

They contain the outputs of transformers' classes, and of torch.nn's layers for
the original transformer, in float32, for random weights.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import transformers
from torch import nn


class Case(NamedTuple):
  """One model with random weights."""

  name: str
  model: str
  """Name of a class of transformers."""

  settings: dict[str, Any]
  """Arguments of its config class."""

  padded: bool = True
  """Whether sequences are padded, on both sides."""


GPT2 = {
  "vocab_size": 41,
  "n_embd": 24,
  "n_layer": 2,
  "n_head": 3,
  "n_positions": 11,
  "pad_token_id": 0,
}
LLAMA = {
  "vocab_size": 43,
  "hidden_size": 24,
  "intermediate_size": 28,
  "num_hidden_layers": 2,
  "num_attention_heads": 6,
  "num_key_value_heads": 2,
  "max_position_embeddings": 64,
  "pad_token_id": 0,
}
LLAMA3 = {
  "rope_type": "llama3",
  # Small enough for wavelengths on both sides of both limits.
  "rope_theta": 100.0,
  "factor": 4.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 32,
}
MARIAN = {
  "vocab_size": 37,
  "d_model": 16,
  "encoder_layers": 1,
  "decoder_layers": 2,
  "encoder_attention_heads": 4,
  "decoder_attention_heads": 4,
  "encoder_ffn_dim": 24,
  "decoder_ffn_dim": 24,
  "max_position_embeddings": 16,
  "activation_function": "swish",
  "scale_embedding": True,
  "pad_token_id": 0,
  "eos_token_id": 1,
  "forced_eos_token_id": 1,
  "decoder_start_token_id": 0,
}

CASES = {
  "gpt2": (
    Case("lm", "GPT2LMHeadModel", GPT2),
    Case(
      "base",
      "GPT2Model",
      {
        **GPT2,
        "n_head": 4,
        "n_inner": 20,
        "activation_function": "gelu",
        "layer_norm_epsilon": 1e-3,
      },
      padded=False,
    ),
    Case(
      "classifier",
      "GPT2ForSequenceClassification",
      {**GPT2, "n_layer": 1, "num_labels": 5},
    ),
  ),
  "llama": (
    Case("grouped", "LlamaForCausalLM", {**LLAMA, "head_dim": 8}),
    Case(
      "scaled",
      "LlamaForCausalLM",
      {
        **LLAMA,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
        "attention_bias": True,
        "rope_parameters": LLAMA3,
      },
    ),
    Case(
      "base",
      "LlamaModel",
      {
        **LLAMA,
        "num_hidden_layers": 1,
        "num_key_value_heads": 6,
        "rms_norm_eps": 1e-3,
      },
      padded=False,
    ),
    Case(
      "classifier",
      "LlamaForSequenceClassification",
      {**LLAMA, "num_hidden_layers": 1, "num_labels": 3},
    ),
  ),
  "qwen2": (
    Case("tied", "Qwen2ForCausalLM", {**LLAMA, "tie_word_embeddings": True}),
    Case(
      "untied",
      "Qwen2ForCausalLM",
      {
        **LLAMA,
        "num_attention_heads": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
      },
      padded=False,
    ),
  ),
  "marian": (
    Case("shared", "MarianMTModel", MARIAN),
    Case(
      "apart",
      "MarianMTModel",
      {
        **MARIAN,
        "decoder_vocab_size": 29,
        "share_encoder_decoder_embeddings": False,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 20,
        "activation_function": "relu",
        "scale_embedding": False,
      },
    ),
    Case("base", "MarianModel", {**MARIAN, "decoder_layers": 1}, padded=False),
  ),
}

BLOCKS = {
  "hidden_states": r"(transformer\.|model\.)?(h|layers)\.(?P<i>\d+)",
  "encoder_hidden_states": r"(model\.)?encoder\.layers\.(?P<i>\d+)",
  "decoder_hidden_states": r"(model\.)?decoder\.layers\.(?P<i>\d+)",
}
"""The modules whose input (of the first) and outputs are hidden states.

The last hidden state of transformers is normalized, so hooks are used.
"""


def make(family: str) -> Iterator[tuple[str, dict, dict[str, torch.Tensor]]]:
  """Yields the name, the metadata and the arrays of each golden file."""
  if family == "transformer":
    for name in ("post_norm", "pre_norm"):
      yield _of_torch(name, pre_norm=name == "pre_norm")
    return
  for case in CASES[family]:
    config_class = getattr(transformers, case.model).config_class
    config = config_class(**case.settings, attn_implementation="eager")
    torch.manual_seed(0)
    model = getattr(transformers, case.model)(config).eval()
    config.architectures = [case.model]
    weights = randomize(model)
    inputs = random_inputs(model, padded=case.padded)
    arrays = {f"input/{name}": array for name, array in inputs.items()}
    arrays |= {f"weight/{name}": array for name, array in weights.items()}
    results, padded = computed(model, weights, inputs)
    metadata = {
      "family": family,
      "config": config.to_json_string(),
      "padded": json.dumps(padded),
    }
    yield case.name, metadata, arrays | results


def randomize(model: nn.Module) -> dict[str, torch.Tensor]:
  """Initializes the parameters and returns them by published name."""
  weights = {
    name: parameter
    for name, parameter in model.named_parameters()
    if parameter.requires_grad
  }
  weights |= {
    name: buffer.requires_grad_()
    for name, buffer in model.named_buffers()
    if name == "final_logits_bias"
  }
  initialize(weights)
  return weights


def initialize(weights: dict[str, torch.Tensor]) -> None:
  """Initializes parameters so that each one has an effect."""
  with torch.no_grad():
    for name, weight in weights.items():
      if re.search(r"(norm\d?|ln_\w+)\.weight$", name):
        weight.uniform_(0.5, 1.5)
      elif weight.ndim < 2 or "bias" in name:
        weight.normal_(std=0.3)
      else:
        table = re.search(r"(shared|wte|wpe|embed_tokens)\.weight$", name)
        # The kernels of both orders are nearly square.
        weight.normal_(std=0.5 if table else weight.shape[0] ** -0.5)


def random_inputs(model: nn.Module, *, padded: bool) -> dict[str, torch.Tensor]:
  """Returns random ids, padded on the left, the right and both sides."""
  config = model.config
  inputs = {"input_ids": torch.randint(2, config.vocab_size, (3, 7))}
  if padded:
    mask = torch.ones(3, 7, dtype=torch.long)
    if config.is_encoder_decoder:  # Positions count from the first column.
      mask[0, 5:] = mask[1, 2:] = 0
    else:
      mask[0, :2] = mask[1, 4:] = mask[2, :1] = mask[2, 6:] = 0
    inputs["input_ids"] *= mask
    inputs["attention_mask"] = mask
  if config.is_encoder_decoder:
    size = config.decoder_vocab_size
    inputs["decoder_input_ids"] = torch.randint(2, size, (3, 5))
  return inputs


def computed(
  model: nn.Module,
  weights: dict[str, torch.Tensor],
  inputs: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], list[str]]:
  """Returns outputs, cotangent and gradients by name, and the padded outputs.

  Rows of padding are set to 0.
  """
  arguments, mask = dict(inputs), inputs.get("attention_mask")
  if mask is not None and not model.config.is_encoder_decoder:
    # The positions that transformers uses in generation.
    arguments["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
  outputs, hooks = watch(model)
  result = model(**arguments, output_attentions=True, use_cache=False)
  for hook in hooks:
    hook.remove()
  for kind in (kind for kind in result if kind.endswith("attentions")):
    outputs |= {f"{kind}_{i}": a for i, a in enumerate(result[kind])}
  main = "logits" if "logits" in result else "hidden"
  outputs[main] = result["logits" if main == "logits" else "last_hidden_state"]
  padded = [
    name
    for name, array in outputs.items()
    if mask is not None
    and array.shape[-2] == mask.shape[1]
    and "cross" not in name
  ]
  for name in padded:
    axes = (3, 1, 7, 1) if outputs[name].ndim == 4 else (3, 7, 1)
    outputs[name] = outputs[name] * mask.reshape(axes)
  # Also 0 where the output belongs to padding.
  cotangent = torch.randn(outputs[main].shape) * outputs[main].ne(0)
  loss = (outputs[main] * cotangent).sum()
  gradients = torch.autograd.grad(loss, list(weights.values()))
  named = zip(weights, gradients, strict=True)
  arrays = {
    f"cotangent/{main}": cotangent,
    # A tensor may be two outputs, and a file cannot share storage.
    **{f"output/{name}": array.clone() for name, array in outputs.items()},
    **{f"gradient/{name}": gradient for name, gradient in named},
  }
  return arrays, padded


def watch(model: nn.Module) -> tuple[dict[str, torch.Tensor], list]:
  """Stores the input of the first block of a stack and each block's output."""
  states: dict[str, torch.Tensor] = {}
  hooks = []

  def store(kind, i):
    def hook(module, arguments, output):
      if i == 0:
        states[f"{kind}_0"] = arguments[0]
      states[f"{kind}_{i + 1}"] = output

    return hook

  for name, module in model.named_modules():
    for kind, pattern in BLOCKS.items():
      if match := re.fullmatch(pattern, name):
        i = int(match["i"])
        hooks.append(module.register_forward_hook(store(kind, i)))
  return states, hooks


class Translator(nn.Module):
  """Vaswani et al. 2017, arXiv:1706.03762, from the layers of torch.nn."""

  def __init__(self, *, pre_norm: bool):
    """Makes the parameters."""
    super().__init__()
    self.shared = nn.Embedding(VOCAB_SIZE, WIDTH)
    options = {"norm_first": pre_norm, "batch_first": True, "dropout": 0.0}
    sizes = {"d_model": WIDTH, "nhead": 2, "dim_feedforward": 20}
    last = (lambda: nn.LayerNorm(WIDTH)) if pre_norm else lambda: None
    self.encoder = nn.TransformerEncoder(
      nn.TransformerEncoderLayer(**sizes, **options),
      1,
      last(),
      enable_nested_tensor=False,
    )
    self.decoder = nn.TransformerDecoder(
      nn.TransformerDecoderLayer(**sizes, **options), 2, last()
    )

  def forward(self, input_ids, attention_mask, decoder_input_ids):
    """Returns logits."""
    hidden = attention_mask == 0
    x = self.encoder(self.embed(input_ids), src_key_padding_mask=hidden)
    y = self.decoder(
      self.embed(decoder_input_ids),
      x,
      tgt_mask=nn.Transformer.generate_square_subsequent_mask(5),
      memory_key_padding_mask=hidden,
    )
    return y @ self.shared.weight.T

  def embed(self, ids: torch.Tensor) -> torch.Tensor:
    """Returns scaled words plus positions, sines and cosines in turns."""
    positions = torch.arange(ids.shape[1])[:, None]
    angles = positions / 10_000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
    waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    return self.shared(ids) * WIDTH**0.5 + waves


VOCAB_SIZE, WIDTH = 31, 16


def _of_torch(name: str, *, pre_norm: bool):
  torch.manual_seed(0)
  # In evaluation mode torch.nn uses fused code that skips the hooks.
  model = Translator(pre_norm=pre_norm).train()
  weights = dict(model.named_parameters())
  initialize(weights)
  mask = torch.ones(3, 7, dtype=torch.long)
  mask[0, 5:] = mask[1, 2:] = 0
  inputs = {
    "input_ids": torch.randint(0, VOCAB_SIZE, (3, 7)),
    "attention_mask": mask,
    "decoder_input_ids": torch.randint(0, VOCAB_SIZE, (3, 5)),
  }
  outputs, hooks = watch(model)
  logits = model(**inputs)
  for hook in hooks:
    hook.remove()
  padded = [key for key in outputs if key.startswith("encoder")]
  for key in padded:
    outputs[key] = outputs[key] * mask[..., None]
  cotangent = torch.randn(logits.shape)
  gradients = torch.autograd.grad(
    (logits * cotangent).sum(), list(weights.values())
  )
  settings = {
    "vocab_size": VOCAB_SIZE,
    "width": WIDTH,
    "depth": 1,
    "decoder_depth": 2,
    "num_heads": 2,
    "mlp_dim": 20,
    "pre_norm": pre_norm,
  }
  metadata = {
    "family": "torch",
    "settings": json.dumps(settings),
    "padded": json.dumps(padded),
  }
  named = zip(weights, gradients, strict=True)
  return (
    name,
    metadata,
    {
      "cotangent/logits": cotangent,
      "output/logits": logits,
      **{f"input/{name}": array for name, array in inputs.items()},
      **{f"weight/{name}": weight for name, weight in weights.items()},
      **{f"output/{name}": array.clone() for name, array in outputs.items()},
      **{f"gradient/{name}": gradient for name, gradient in named},
    },
  )


FAMILIES = (*CASES, "transformer")
