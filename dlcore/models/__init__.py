"""Models by name: Linen modules, used through `init` and `apply` only."""

from typing import Any

from dlcore.errors import check_settings, lookup
from dlcore.models.attention_maps import attention_maps
from dlcore.models.bert import Bert
from dlcore.models.cnn import CNN
from dlcore.models.convnext import ConvNeXt
from dlcore.models.efficientnet import EfficientNetLite
from dlcore.models.feature_maps import feature_maps
from dlcore.models.gpt2 import GPT2
from dlcore.models.lenet import LeNet5
from dlcore.models.llama import Llama
from dlcore.models.mixer import Mixer
from dlcore.models.mlp import MLP
from dlcore.models.model_table import MODELS
from dlcore.models.ngram_bag import NgramBag
from dlcore.models.ngram_cnn import NgramCNN
from dlcore.models.published import PUBLISHED, Published
from dlcore.models.recurrent_network import RecurrentNetwork
from dlcore.models.resnet import ResNet
from dlcore.models.seq2seq import Seq2Seq
from dlcore.models.summary import example_inputs, flops, list_layers, summary
from dlcore.models.tabular import Tabular
from dlcore.models.text_cnn import TextCNN
from dlcore.models.token_relevance import (
  erasure_relevance,
  token_relevance,
)
from dlcore.models.transformer import Transformer
from dlcore.models.vgg import VGG
from dlcore.models.vit import ViT
from dlcore.models.wide_resnet import WideResNet

__all__ = [
  "CNN",
  "GPT2",
  "MLP",
  "MODELS",
  "PUBLISHED",
  "VGG",
  "Bert",
  "ConvNeXt",
  "EfficientNetLite",
  "LeNet5",
  "Llama",
  "Mixer",
  "NgramBag",
  "NgramCNN",
  "Published",
  "RecurrentNetwork",
  "ResNet",
  "Seq2Seq",
  "Tabular",
  "TextCNN",
  "Transformer",
  "ViT",
  "WideResNet",
  "attention_maps",
  "create",
  "erasure_relevance",
  "example_inputs",
  "feature_maps",
  "flops",
  "list_layers",
  "summary",
  "token_relevance",
]


def create(
  name: str, *, num_classes: int | None = None, **settings: Any
) -> Any:
  """Creates a model by name.

  Args:
    name: a key of `MODELS`.
    num_classes: number of classes; 1 in regression, None for models without a
      classifier.
    **settings: fields of the model.

  Returns:
    A Linen module. `init(key, x, train=False)` returns the variables as plain
    dicts and `apply(variables, x, train=False)` returns float32 logits
    `[B, C]`. The required positional arguments of its `__call__` are its
    inputs; see the docstrings of the models of token ids.

  Raises:
    UserError: there is no such model or it has no such field.
  """
  model = lookup(MODELS, name, "model")
  exclude = ("name", "num_classes", "parent")
  check_settings(model, settings, f"model {name!r}", exclude)
  return model(num_classes=num_classes, **settings)
