"""Writes adapters/CASE: `python tests/golden/make_adapters.py`.

Requires torch, transformers, peft and safetensors, which the tests do not. Each
folder is one that PEFT's `save_pretrained` writes, for a small model with
random weights and adapters. Its base.safetensors has, in float32,
`weight/NAME` of the model, `input/ARGUMENT`, `output`, and `merged/NAME`, the
weights with their updates. Its metadata has the `family` and the `config`.

  python tests/golden/make_adapters.py --check=FOLDER

compares folders that dlcore has written, those of
`tests/transfer/written_adapters.py FOLDER`, with PEFT.
"""

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import make_encoders
import peft
import safetensors.torch
import torch
import transformers
from torch import nn

warnings.filterwarnings("ignore")
FOLDER = Path(__file__).parent / "adapters"
TOLERANCE = 1e-5


class Case(NamedTuple):
  """A model and its adapters."""

  family: str
  model: str
  """Name of a class of transformers."""

  settings: dict[str, Any]
  """Arguments of its config class."""

  inputs: Callable[[Any], dict[str, torch.Tensor]]
  adapters: dict[str, Any]
  """Arguments of `peft.LoraConfig`."""


BERT = {
  "vocab_size": 19,
  "hidden_size": 12,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "intermediate_size": 10,
  "max_position_embeddings": 9,
}
GPT2 = {"vocab_size": 19, "n_embd": 12, "n_layer": 2, "n_head": 3,
        "n_positions": 9}  # fmt: skip
LLAMA = {
  "vocab_size": 19,
  "hidden_size": 12,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "num_key_value_heads": 1,
  "intermediate_size": 10,
  "pad_token_id": 0,
}
VIT = {
  "hidden_size": 12,
  "num_hidden_layers": 1,
  "num_attention_heads": 3,
  "intermediate_size": 10,
  "patch_size": 3,
  "image_size": 6,
  "num_labels": 4,
}
TEXT = make_encoders.text(padded=False)
CASES = {
  "bert": Case(
    "bert",
    "BertForSequenceClassification",
    {**BERT, "num_labels": 3},
    TEXT,
    {"r": 3, "lora_alpha": 5, "target_modules": ["query", "value"],
     "task_type": "SEQ_CLS", "lora_dropout": 0.1},
  ),
  "bert_patterns": Case(
    "bert",
    "BertModel",
    BERT,
    TEXT,
    {
      "r": 3,
      "lora_alpha": 5,
      "target_modules": ["query", "intermediate.dense", "pooler.dense"],
      "rank_pattern": {"^encoder.layer.0.attention.self.query": 2, "dense": 4},
      "alpha_pattern": {r"layer\.1\..*query": 7},
      "use_rslora": True,
      "use_dora": True,
    },
  ),
  "gpt2": Case(
    "gpt2",
    "GPT2LMHeadModel",
    GPT2,
    TEXT,
    {"r": 2, "lora_alpha": 3, "target_modules": ["c_attn", "mlp.c_proj"],
     "task_type": "CAUSAL_LM", "fan_in_fan_out": True},
  ),
  "gpt2_dora": Case(
    "gpt2",
    "GPT2Model",
    GPT2,
    TEXT,
    {"r": 2, "lora_alpha": 3, "target_modules": ["c_attn", "c_fc"],
     "use_dora": True, "fan_in_fan_out": True},
  ),
  "llama": Case(
    "llama",
    "LlamaForCausalLM",
    LLAMA,
    TEXT,
    {"r": 2, "lora_alpha": 3, "use_rslora": True, "task_type": "CAUSAL_LM",
     "target_modules": r"model\.layers\.1\..*_proj"},
  ),
  "vit": Case(
    "vit",
    "ViTForImageClassification",
    VIT,
    make_encoders.images(3, 6, 6),
    {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "projection"],
     "modules_to_save": ["classifier"]},
  ),
  "vit_dora": Case(
    "vit",
    "ViTForImageClassification",
    VIT,
    make_encoders.images(3, 6, 6),
    {"r": 2, "lora_alpha": 3, "target_modules": ["mlp.fc2", "projection"],
     "use_dora": True},
  ),
}  # fmt: skip


def main() -> None:
  """Writes the folders, or checks others."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--check", type=Path)
  folder = parser.parse_args().check
  if folder:
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
      print(f"{check(path):.1e}  {path.name}")
    return
  for name, case in CASES.items():
    torch.manual_seed(0)
    write(FOLDER / name, case)
    sizes = [p.stat().st_size for p in (FOLDER / name).iterdir()]
    print(f"{sum(sizes):>8,} bytes  {name}")


def write(folder: Path, case: Case) -> None:
  """Writes a folder."""
  cls = getattr(transformers, case.model)
  config = cls.config_class(**case.settings)
  model = cls(config).eval()
  randomize(model.named_parameters(), 0.3)
  weights = published(model)
  inputs = case.inputs(config)
  adapted = peft.get_peft_model(model, peft.LoraConfig(**case.adapters)).eval()
  randomize([p for p in adapted.named_parameters() if p[1].requires_grad], 0.3)
  adapted.save_pretrained(folder)
  (folder / "README.md").unlink(missing_ok=True)
  with torch.no_grad():
    output = adapted(**inputs)[0]
  merged = published(adapted.merge_and_unload())
  arrays = {
    **{f"weight/{name}": x for name, x in weights.items()},
    **{f"input/{name}": x for name, x in inputs.items()},
    "output": output,
    **{
      f"merged/{name}": x
      for name, x in merged.items()
      if not torch.equal(x, weights[name])
    },
  }
  tensors = {k: x.detach().clone().contiguous() for k, x in arrays.items()}
  described = json.dumps({**config.to_dict(), "architectures": [case.model]})
  metadata = {"family": case.family, "config": described}
  safetensors.torch.save_file(tensors, folder / "base.safetensors", metadata)


def published(model: nn.Module) -> dict[str, torch.Tensor]:
  """Returns the weights of a model by published name."""
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    return safetensors.torch.load_file(f"{folder}/model.safetensors")


def randomize(parameters: Any, deviation: float) -> None:
  """Initializes parameters so that each one has an effect."""
  with torch.no_grad():
    for name, parameter in parameters:
      noise = deviation * torch.randn_like(parameter)
      is_scale = "norm" in name.lower() or "ln_" in name or "magnitude" in name
      parameter.copy_(1 + noise if is_scale and "bias" not in name else noise)


def check(folder: Path) -> float:
  """Returns the error of PEFT's outputs for a folder of dlcore.

  Raises:
    ValueError: it is too large, or PEFT lacks or adds an adapter.
  """
  config = json.loads((folder / "base" / "config.json").read_text())
  cls = getattr(transformers, config["architectures"][0])
  model = cls.from_pretrained(folder / "base").eval()
  with warnings.catch_warnings():
    warnings.filterwarnings("error", message=".*(missing|unexpected).*")
    adapted = peft.PeftModel.from_pretrained(model, folder / "adapter").eval()
  arrays = safetensors.torch.load_file(folder / "expected.safetensors")
  inputs = {
    k.removeprefix("input/"): x for k, x in arrays.items() if "input/" in k
  }
  inputs = {k: x.long() if "ids" in k else x for k, x in inputs.items()}
  with torch.no_grad():
    output = adapted(**inputs)[0]
  kept = safetensors.torch.load_file(
    folder / "adapter" / "adapter_model.safetensors"
  )
  own = peft.get_peft_model_state_dict(adapted)
  differing = {k for k in kept.keys() ^ own.keys() if "lora_" in k}
  expected = arrays["output"]
  error = float((output - expected).abs().max() / expected.abs().max())
  if differing or error > TOLERANCE:
    raise ValueError(f"{folder.name}: error {error:.1e}, names {differing}")
  return error


if __name__ == "__main__":
  main()
