"""The tables of the models: agreement with PyTorch, sizes, speed."""

import re
from collections.abc import Mapping, Sequence

from tables.markdown import as_table, is_ratio, measured

from dlcore.models import Published

RECURRENT = {
  "rnn": "Elman 1990, Finding structure in time",
  "lstm": "Hochreiter & Schmidhuber 1997, Long short-term memory",
  "gru": "1406.1078",
}
"""The papers of models without a published size."""

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
"""One model of each row, and the weight families of its golden files."""

MEASURED = {
  "bert_base": "transformer",
  "gpt2": "gpt2 lm",
  "gru": "gru",
  "lstm": "lstm",
  "resnet18": "resnet18",
  "vit_tiny": "vit_tiny/8",
}
"""The models of the comparison with PyTorch, and their names in it."""


def allocators(results: Sequence[dict]) -> str:
  """Returns the table of the steps of dlcore with several allocators."""
  results = [result for result in results if result]
  names = [name for name in results[0] if is_ratio(results[0], name)]
  rows = [
    (
      name,
      *(
        f"{row['dlcore_ms']:.2f} ms ({row['ratio']:.2f}), "
        f"{row['dlcore_faults']:,.0f}, {row['peak_mb']:,.0f} MB"
        if (row := result.get(name))
        else ""
        for result in results
      ),
    )
    for name in names
  ]
  return as_table(
    "The same with other allocators: a step of dlcore (times as fast as "
    "PyTorch, with the same allocator), page faults a step, and the peak "
    f"memory of the process with both libraries, {measured(results[0])}:",
    "experiments/benchmark.py peers",
    ("model", *(result["allocator"] for result in results)),
    rows,
  )


def machines(results: Sequence[dict]) -> str:
  """Returns the table of the comparisons with PyTorch, a row for each CPU."""
  names = [name for name in results[0] if is_ratio(results[0], name)]
  rows = [
    (
      f"{measured(result)}; {result['allocator']}",
      *(
        f"{result[name]['ratio']:.2f}" if name in result else ""
        for name in names
      ),
    )
    for result in results
    if result
  ]
  return as_table(
    "Times as fast as PyTorch by machine; rows of machines that are not at "
    "hand stay as they were measured:",
    "experiments/benchmark.py peers",
    ("machine", *names),
    rows,
  )


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
    "Largest difference from PyTorch of any layer's output and any gradient, "
    "with the same small random weights in float32: max|a-b| / max|b| of each "
    "tensor (relative to the largest gradient if the exact one is 0), "
    f"{measured(result)}:",
    "tests/golden/measure.py",
    ("model", "family of weights", "forward", "gradient", "files"),
    rows,
  )


def models(
  published: Mapping[str, Published], parity: dict, peers: dict
) -> str:
  """Returns the table of the models, one row for each paper."""
  groups: dict[tuple, list[tuple[int, str]]] = {}
  for name, (paper, parameters, settings) in published.items():
    row = groups.setdefault((paper, str(settings)), [])
    row.append((parameters, name))
  rows = [
    (
      ", ".join(f"`{name}`" for _, name in sorted(row)),
      _cited(paper),
      ", ".join(_short(parameters) for parameters, _ in sorted(row)),
      *_compared_to_torch([name for _, name in row], parity, peers),
    )
    for (paper, _), row in groups.items()
  ]
  rows += [
    (f"`{name}`", _cited(paper), "", *_compared_to_torch([name], parity, peers))
    for name, paper in RECURRENT.items()
  ]
  return as_table(
    "Models. Parameter counts equal those of the reference release, or of the "
    "tables of the paper, exactly. Forward and gradient are the largest "
    "differences of the table above over all families of weights; speed is "
    "that of the small models in the comparison with PyTorch:",
    "tests/models/test_published.py",
    (
      *("model", "paper", "parameters", "forward", "gradient"),
      "times as fast as PyTorch",
    ),
    rows,
  )


def _compared_to_torch(
  names: Sequence[str], parity: dict, peers: dict
) -> tuple[str, str, str]:
  """Returns the errors and the speed of models, empty if not measured."""
  families = parity.get("families", {})
  golden = {family for name in names for family in GOLDEN.get(name, ())}
  rows = [families[family] for family in golden & families.keys()]
  errors = [
    f"{max(row[kind] for row in rows):.0e}" if rows else ""
    for kind in ("forward", "gradient")
  ]
  speeds = [
    f"{peers[peer]['ratio']:.2f} ({peer})"
    for name, peer in MEASURED.items()
    if name in names and peer in peers
  ]
  return errors[0], errors[1], ", ".join(speeds)


def _named(family: str) -> tuple[str, str]:
  """Returns the model of a key of `FAMILIES` and the origin of its names."""
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
  """Returns a link for an arXiv number, other citations unchanged."""
  number = re.fullmatch(r"\d{4}\.\d{4,5}", paper)
  return f"[{paper}](https://arxiv.org/abs/{paper})" if number else paper


def _short(count: int) -> str:
  """Returns a count with three digits, such as 25.6M."""
  for unit, size in (("B", 10**9), ("M", 10**6)):
    if count >= size:
      return f"{count / size:.3g}{unit}"
  return f"{count / 1000:.3g}k"
