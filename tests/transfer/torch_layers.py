"""The transformer of the layers of torch.nn, in whose names none is published.

A family for the golden files only.
"""

from dlcore.models import Transformer
from dlcore.transfer import Family, rules
from dlcore.transfer.families.parts import dense, norm

SIDES = {"encoder": ("norm1", "norm2"), "decoder": ("norm1", "norm3")}
KINDS = ("query", "key", "value")


def _rules(model):
  """Returns the rules, the same for every model."""
  del model
  found = [rules.Rule("shared.weight", "params/word_embedding/embedding")]
  for side, (first, last) in SIDES.items():
    layer, block = f"{side}.layers.{{i}}", f"params/{side}/block_{{i}}"
    found += [
      *_attention(f"{layer}.self_attn", f"{block}/attention"),
      *_attention(f"{layer}.multihead_attn", f"{block}/cross_attention"),
      *dense(f"{layer}.linear1", f"{block}/feedforward/in"),
      *dense(f"{layer}.linear2", f"{block}/feedforward/out"),
      *norm(f"{layer}.{first}", f"{block}/attention_norm"),
      *norm(f"{layer}.{last}", f"{block}/feedforward_norm"),
      *norm(f"{side}.norm", f"params/{side}/norm"),
    ]
    if side == "decoder":
      found += norm(f"{layer}.norm2", f"{block}/cross_attention_norm")
  return found


def _attention(theirs, ours):
  paths = [f"{ours}/{kind}" for kind in KINDS]
  return [
    rules.Rule(
      f"{theirs}.in_proj_weight",
      tuple(f"{path}/kernel" for path in paths),
      rules.fused(3, 0, rules.DENSE),
    ),
    rules.Rule(
      f"{theirs}.in_proj_bias",
      tuple(f"{path}/bias" for path in paths),
      rules.fused(3, 0),
    ),
    *dense(f"{theirs}.out_proj", f"{ours}/out"),
  ]


FAMILY = Family(
  _rules,
  build=lambda config: Transformer(**config),
  config=lambda model: {},
  model=Transformer,
)
