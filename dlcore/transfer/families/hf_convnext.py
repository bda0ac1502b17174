"""ConvNeXt in transformers: names and config.json."""

from collections.abc import Sequence

from dlcore.models.convnext import ConvNeXt
from dlcore.transfer.families.config_fields import SEQUENCE, Field
from dlcore.transfer.families.hf_config import CLASSES, HfConfig
from dlcore.transfer.families.layer_rules import dense, norm
from dlcore.transfer.families.name_rules import CONV, Rule

CONFIG = HfConfig(
  ConvNeXt,
  "convnext",
  architectures={
    "ConvNextForImageClassification": {"head": "classifier"},
    "ConvNextModel": {"head": None},
  },
  prefix="convnext.",
  fields=(
    Field("num_stages", "depths", None, save=lambda depths, _: len(depths)),
    Field("depths", "depths", (3, 3, 9, 3), *SEQUENCE),
    Field("hidden_sizes", "widths", (96, 192, 384, 768), *SEQUENCE),
    Field("patch_size", "patch_size", 4),
    Field(
      "layer_scale_init_value",
      "layer_scale",
      1e-6,
      lambda value, _: max(value, 0.0),
    ),
    Field("drop_path_rate", "stochastic_depth", 0.0),
    Field("layer_norm_eps", "eps", 1e-12),
    *CLASSES,
  ),
  constants={"kernel_size": 7},
  supported={"hidden_act": "gelu"},
  first_layer="stem_conv",
)


def rules(model: ConvNeXt, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  del model
  stem, stage = f"{base}embeddings", f"{base}encoder.stages.{{i}}"
  layer, block = f"{stage}.layers.{{j}}", "params/stage_{i}_block_{j}"
  down, path = f"{stage}.downsampling_layer", "params/stage_{i}"
  return (
    *dense(f"{stem}.patch_embeddings", "params/stem_conv", CONV),
    *norm(f"{stem}.layernorm", "params/stem_norm"),
    *norm(f"{down}.0", f"{path}_norm"),
    *dense(f"{down}.1", f"{path}_conv", CONV),
    *dense(f"{layer}.dwconv", f"{block}/depthwise", CONV),
    *norm(f"{layer}.layernorm", f"{block}/norm"),
    *dense(f"{layer}.pwconv1", f"{block}/dense_0"),
    *dense(f"{layer}.pwconv2", f"{block}/dense_1"),
    Rule(f"{layer}.layer_scale_parameter", f"{block}/layer_scale"),
    *norm(f"{base}layernorm", "params/norm"),
    *dense("classifier", "params/head"),
  )


FAMILY = CONFIG.family(rules)
