"""Name rules of the layers that most families have."""

from collections.abc import Sequence

from dlcore.transfer.families.name_rules import DENSE, Layout, Rule


def dense(
  published: str, ours: str, layout: Layout = DENSE
) -> tuple[Rule, Rule]:
  """Returns the rules for kernel and bias of a dense layer or convolution."""
  return (
    Rule(f"{published}.weight", f"{ours}/kernel", layout),
    Rule(f"{published}.bias", f"{ours}/bias"),
  )


def attention(published: Sequence[str], ours: str) -> tuple[Rule, ...]:
  """Returns the rules for query, key, value and output projection, in order."""
  names = ("query", "key", "value", "out")
  pairs = zip(published, names, strict=True)
  return tuple(rule for p, name in pairs for rule in dense(p, f"{ours}/{name}"))


def embedding(published: str, ours: str) -> Rule:
  """Returns the rule for the table of an embedding, such as "word"."""
  return Rule(f"{published}.weight", f"params/{ours}_embedding/embedding")


def norm(published: str, ours: str) -> tuple[Rule, Rule]:
  """Returns the rules for scale and bias of a layer norm."""
  return (
    Rule(f"{published}.weight", f"{ours}/scale"),
    Rule(f"{published}.bias", f"{ours}/bias"),
  )


def batch_norm(published: str, ours: str) -> tuple[Rule, ...]:
  """Returns the rules for parameters and statistics of a batch norm.

  Args:
    published: name of the module.
    ours: path of the module, without the collection.
  """
  return (
    Rule(f"{published}.weight", f"params/{ours}/scale"),
    Rule(f"{published}.bias", f"params/{ours}/bias"),
    Rule(f"{published}.running_mean", f"batch_stats/{ours}/mean"),
    Rule(f"{published}.running_var", f"batch_stats/{ours}/var"),
  )
