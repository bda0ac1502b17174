"""A family for golden files: an encoder-decoder with the names of torch.nn."""

from dlcore.models import Transformer
from dlcore.transfer import Family
from dlcore.transfer.families.layer_rules import dense, norm
from dlcore.transfer.families.name_rules import DENSE, Rule, fused

SIDES = {"encoder": ("norm1", "norm2"), "decoder": ("norm1", "norm3")}
PROJECTIONS = ("query", "key", "value")


def _rules(model):
  """Returns the name rules, the same for every model."""
  del model
  rules = [Rule("shared.weight", "params/word_embedding/embedding")]
  for side, (first, last) in SIDES.items():
    layer, block = f"{side}.layers.{{i}}", f"params/{side}/block_{{i}}"
    rules += [
      *_attention(f"{layer}.self_attn", f"{block}/attention"),
      *_attention(f"{layer}.multihead_attn", f"{block}/cross_attention"),
      *dense(f"{layer}.linear1", f"{block}/feedforward/in"),
      *dense(f"{layer}.linear2", f"{block}/feedforward/out"),
      *norm(f"{layer}.{first}", f"{block}/attention_norm"),
      *norm(f"{layer}.{last}", f"{block}/feedforward_norm"),
      *norm(f"{side}.norm", f"params/{side}/norm"),
    ]
    if side == "decoder":
      rules += norm(f"{layer}.norm2", f"{block}/cross_attention_norm")
  return rules


def _attention(published, path):
  paths = [f"{path}/{kind}" for kind in PROJECTIONS]
  return [
    Rule(
      f"{published}.in_proj_weight",
      tuple(f"{path}/kernel" for path in paths),
      fused(3, 0, DENSE),
    ),
    Rule(
      f"{published}.in_proj_bias",
      tuple(f"{path}/bias" for path in paths),
      fused(3, 0),
    ),
    *dense(f"{published}.out_proj", f"{path}/out"),
  ]


FAMILY = Family(
  _rules,
  build=lambda config: Transformer(**config),
  describe=lambda model: {},
  model=Transformer,
)
