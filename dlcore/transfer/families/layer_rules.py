"""Name rules of the layers that most families have."""

from collections.abc import Sequence

from dlcore.transfer.families.name_rules import (
  CONV,
  DENSE,
  Layout,
  Rule,
  fused,
)

BATCH_COUNTERS = r"\.num_batches_tracked$"
"""Regex over the names of PyTorch's batch norms that are not parameters."""


def dense(
  published: str, path: str, layout: Layout = DENSE
) -> tuple[Rule, Rule]:
  """Returns the rules for kernel and bias of a dense layer or convolution."""
  return (
    Rule(f"{published}.weight", f"{path}/kernel", layout),
    Rule(f"{published}.bias", f"{path}/bias"),
  )


def attention(published: Sequence[str], path: str) -> tuple[Rule, ...]:
  """Returns the rules for query, key, value and output projection, in order."""
  names = ("query", "key", "value", "out")
  pairs = zip(published, names, strict=True)
  return tuple(rule for p, name in pairs for rule in dense(p, f"{path}/{name}"))


def fused_attention(
  published: str, path: str, layout: Layout
) -> tuple[Rule, Rule]:
  """Returns the rules for query, key and value that one layer computes.

  Args:
    published: name of the layer.
    path: path of the attention layer.
    layout: layout of the three kernels.
  """
  inputs = [f"{path}/{name}" for name in ("query", "key", "value")]
  kernels = tuple(f"{name}/kernel" for name in inputs)
  biases = tuple(f"{name}/bias" for name in inputs)
  return (
    Rule(f"{published}.weight", kernels, layout),
    Rule(f"{published}.bias", biases, fused(3, 0)),
  )


def embedding(published: str, name: str) -> Rule:
  """Returns the rule for the table of an embedding, such as "word"."""
  return Rule(f"{published}.weight", f"params/{name}_embedding/embedding")


def norm(published: str, path: str) -> tuple[Rule, Rule]:
  """Returns the rules for scale and bias of a layer norm."""
  return (
    Rule(f"{published}.weight", f"{path}/scale"),
    Rule(f"{published}.bias", f"{path}/bias"),
  )


def batch_norm(published: str, path: str) -> tuple[Rule, ...]:
  """Returns the rules for parameters and statistics of a batch norm.

  Args:
    published: name of the module.
    path: path of the module, without the collection.
  """
  return (
    Rule(f"{published}.weight", f"params/{path}/scale"),
    Rule(f"{published}.bias", f"params/{path}/bias"),
    Rule(f"{published}.running_mean", f"batch_stats/{path}/mean"),
    Rule(f"{published}.running_var", f"batch_stats/{path}/var"),
  )


def conv_norm(
  conv: str, norm: str, conv_path: str, norm_path: str
) -> tuple[Rule, ...]:
  """Returns the rules for a convolution without bias and its batch norm.

  Args:
    conv: name of the convolution.
    norm: name of the batch norm.
    conv_path: path of the convolution, without the collection.
    norm_path: path of the batch norm, without the collection.
  """
  return (
    Rule(f"{conv}.weight", f"params/{conv_path}/kernel", CONV),
    *batch_norm(norm, norm_path),
  )
