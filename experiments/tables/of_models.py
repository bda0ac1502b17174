"""The tables of the models: equality with PyTorch, sizes, speed."""

import re
from collections.abc import Mapping, Sequence

from tables.markdown import as_table

from dlcore.models import Published

RECURRENT = {
  "rnn": "Elman 1990, Finding structure in time",
  "lstm": "Hochreiter & Schmidhuber 1997, Long short-term memory",
  "gru": "1406.1078",
}
"""The papers of models of no published size."""

GOLDEN = {
  **dict.fromkeys(("bert_base", "minilm_l6"), ("bert",)),
  "convnext_tiny": ("convnext", "timm/convnext"),
  "distilbert": ("distilbert",),
  "efficientnet_lite0": ("timm/efficientnet_lite",),
  "gpt2": ("gpt2",),
  **dict.fromkeys(("llama2_7b", "llama3_8b", "smollm_135m"), ("llama",)),
  **{name: (f"torch/{name}",) for name in RECURRENT},
  "marian": ("marian",),
  "mixer": ("timm/mixer",),
  "qwen2_0_5b": ("qwen2",),
  "resnet18": ("resnet", "timm/resnet"),
  "transformer_base": ("torch",),
  "vgg11": ("torchvision/vgg",),
  "vit_base": ("npz/vit", "vit", "timm/vit"),
  "vit_tiny": ("timm/vit",),
}
"""One model of each row, and the families of its golden files."""

MEASURED = {
  "bert_base": "transformer",
  "gru": "gru",
  "lstm": "lstm",
  "resnet18": "resnet18",
  "vit_tiny": "vit_tiny/8",
}
"""The models that stand in the comparison with PyTorch, and under what name."""


def parity(result: dict) -> str:
  """Returns the table of the differences from PyTorch, by family."""
  rows = [
    (
      *_named(family),
      f"{row['forward']:.0e}",
      f"{row['gradient']:.0e}",
      row["files"],
    )
    for family, row in result["families"].items()
  ]
  return as_table(
    "Largest difference of any output of any layer, and of any gradient, from "
    "PyTorch on the same small random weights in float32, max|a-b| / max|b| "
    "of each tensor (over the largest gradient, where one is 0 but for "
    f"rounding), {result['date']}:",
    "tests/golden/measure.py",
    ("model", "names of the weights", "forward", "gradient", "files"),
    rows,
  )


def models(
  published: Mapping[str, Published], parity: dict, peers: dict
) -> str:
  """Returns the table of the models, those of one paper in a row."""
  groups: dict[tuple, list[tuple[int, str]]] = {}
  for name, (paper, parameters, settings) in published.items():
    row = groups.setdefault((paper, str(settings)), [])
    row.append((parameters, name))
  rows = [
    (
      ", ".join(f"`{name}`" for _, name in sorted(row)),
      _cited(paper),
      ", ".join(_short(parameters) for parameters, _ in sorted(row)),
      *_beside_torch([name for _, name in row], parity, peers),
    )
    for (paper, _), row in groups.items()
  ]
  rows += [
    (f"`{name}`", _cited(paper), "", *_beside_torch([name], parity, peers))
    for name, paper in RECURRENT.items()
  ]
  return as_table(
    "Models. Those with a count have, to the last one, the parameters of the "
    "reference release, or those that the tables of the paper add up to. "
    "Forward and gradient are the largest differences of the table above, of "
    "all names of the weights; speed is that of the small models of the "
    "comparison with PyTorch:",
    "tests/models/test_table.py",
    (
      *("model", "paper", "parameters", "forward", "gradient"),
      "times as fast as PyTorch",
    ),
    rows,
  )


def _beside_torch(
  names: Sequence[str], parity: dict, peers: dict
) -> tuple[str, str, str]:
  """Returns the errors and the speed of models, empty where not measured."""
  families = parity.get("families", {})
  known = {family for name in names for family in GOLDEN.get(name, ())}
  found = [families[family] for family in known if family in families]
  errors = [
    f"{max(row[kind] for row in found):.0e}" if found else ""
    for kind in ("forward", "gradient")
  ]
  told = [
    f"{peers[peer]['ratio']:.2f} ({peer})"
    for name, peer in MEASURED.items()
    if name in names and peer in peers
  ]
  return errors[0], errors[1], ", ".join(told)


def _named(family: str) -> tuple[str, str]:
  """Returns the model of a key of `FAMILIES`, and whose names it has."""
  naming, _, model = family.rpartition("/")
  if family == "torch":
    return "transformer", "torch.nn"
  known = {
    "": "transformers",
    "npz": "the original release",
    "torch": "torch.nn",
  }
  return model.replace("_", " "), known.get(naming, naming)


def _cited(paper: str) -> str:
  """Returns a link to an arXiv number, and what has none as it is."""
  number = re.fullmatch(r"\d{4}\.\d{4,5}", paper)
  return f"[{paper}](https://arxiv.org/abs/{paper})" if number else paper


def _short(count: int) -> str:
  """Returns three digits of a count, as 25.6M."""
  for unit, size in (("B", 10**9), ("M", 10**6)):
    if count >= size:
      return f"{count / size:.3g}{unit}"
  return f"{count / 1000:.3g}k"
