"""Models by name: the module and the settings of each size."""

from collections.abc import Callable
from functools import partial
from typing import Any

from dlcore.models.bert import Bert
from dlcore.models.cnn import CNN
from dlcore.models.convnext import ConvNeXt
from dlcore.models.efficientnet import EfficientNetLite
from dlcore.models.gpt2 import GPT2
from dlcore.models.lenet import LeNet5
from dlcore.models.llama import Llama
from dlcore.models.mixer import Mixer
from dlcore.models.mlp import MLP
from dlcore.models.ngram_bag import NgramBag
from dlcore.models.ngram_cnn import NgramCNN
from dlcore.models.recurrent_network import RecurrentNetwork
from dlcore.models.resnet import ResNet
from dlcore.models.seq2seq import Seq2Seq
from dlcore.models.tabular import Tabular
from dlcore.models.text_cnn import TextCNN
from dlcore.models.transformer import Transformer
from dlcore.models.vgg import VGG
from dlcore.models.vit import ViT
from dlcore.models.wide_resnet import WideResNet

cifar_resnet = partial(ResNet, width=16, stem="small", shortcut="zeros")
bottleneck_resnet = partial(ResNet, block="bottleneck")

LLAMA3_2 = {
  "tie_embeddings": True,
  "vocab_size": 128_256,
  "mlp_dim": 8192,
  "num_kv_heads": 8,
  "max_length": 131_072,
  "rope_theta": 500_000.0,
  "rope_scaling": (32.0, 1.0, 4.0, 8192),
}
QWEN2 = {
  "qkv_bias": True,
  "vocab_size": 151_936,
  "max_length": 131_072,
  "rope_theta": 1e6,
  "eps": 1e-6,
}
SMOLLM = {"tie_embeddings": True, "vocab_size": 49_152, "max_length": 2048}

MODELS: dict[str, Callable[..., Any]] = {
  # Images and tables.
  "cnn": CNN,
  "convnext_base": partial(
    ConvNeXt, depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)
  ),
  "convnext_small": partial(ConvNeXt, depths=(3, 3, 27, 3)),
  "convnext_tiny": ConvNeXt,
  "efficientnet_lite0": EfficientNetLite,
  "efficientnet_lite1": partial(EfficientNetLite, depth_factor=1.1),
  "efficientnet_lite2": partial(
    EfficientNetLite, width_factor=1.1, depth_factor=1.2
  ),
  "efficientnet_lite3": partial(
    EfficientNetLite, width_factor=1.2, depth_factor=1.4
  ),
  "efficientnet_lite4": partial(
    EfficientNetLite, width_factor=1.4, depth_factor=1.8
  ),
  "lenet5": LeNet5,
  "mixer": Mixer,
  "mixer_base": partial(
    Mixer, depth=12, width=768, tokens_mlp_dim=384, channels_mlp_dim=3072
  ),
  "mlp": MLP,
  "resnet101": partial(bottleneck_resnet, stages=(3, 4, 23, 3)),
  "resnet110": partial(cifar_resnet, stages=(18, 18, 18)),
  "resnet152": partial(bottleneck_resnet, stages=(3, 8, 36, 3)),
  "resnet18": partial(ResNet, stages=(2, 2, 2, 2)),
  "resnet20": partial(cifar_resnet, stages=(3, 3, 3)),
  "resnet32": partial(cifar_resnet, stages=(5, 5, 5)),
  "resnet34": partial(ResNet, stages=(3, 4, 6, 3)),
  "resnet44": partial(cifar_resnet, stages=(7, 7, 7)),
  "resnet50": partial(bottleneck_resnet, stages=(3, 4, 6, 3)),
  "resnet56": partial(cifar_resnet, stages=(9, 9, 9)),
  "tabular": Tabular,
  "vgg11": partial(
    VGG, stages=((64,), (128,), (256, 256), (512, 512), (512, 512))
  ),
  "vgg16": VGG,
  "vit_base": ViT,
  "vit_large": partial(ViT, width=1024, depth=24, num_heads=16),
  "vit_small": partial(ViT, width=384, num_heads=6),
  "vit_tiny": partial(ViT, width=192, num_heads=3),
  "wide_resnet28_10": WideResNet,
  # Recurrent networks.
  "gru": partial(RecurrentNetwork, cell="gru"),
  "lstm": partial(RecurrentNetwork, cell="lstm"),
  "rnn": partial(RecurrentNetwork, cell="rnn"),
  "seq2seq": Seq2Seq,
  # Classifiers of text.
  "ngram_bag": NgramBag,
  "ngram_cnn": NgramCNN,
  "text_cnn": TextCNN,
  # Encoders of text.
  "bert_base": Bert,
  "bert_large": partial(Bert, width=1024, depth=24, num_heads=16),
  "distilbert": partial(
    Bert, depth=6, num_token_types=0, pooler=False, pooler_activation="relu"
  ),
  "minilm_l12": partial(Bert, width=384),
  "minilm_l6": partial(Bert, width=384, depth=6),
  # Decoders and encoder-decoders of text.
  "gpt2": GPT2,
  "gpt2_medium": partial(GPT2, width=1024, depth=24, num_heads=16),
  "gpt2_large": partial(GPT2, width=1280, depth=36, num_heads=20),
  "gpt2_xl": partial(GPT2, width=1600, depth=48, num_heads=25),
  "llama2_7b": Llama,
  "llama3_8b": partial(
    Llama,
    vocab_size=128_256,
    mlp_dim=14_336,
    num_kv_heads=8,
    max_length=8192,
    rope_theta=500_000.0,
  ),
  "llama3_2_1b": partial(Llama, width=2048, depth=16, **LLAMA3_2),
  "llama3_2_3b": partial(Llama, width=3072, depth=28, num_heads=24, **LLAMA3_2),
  "marian": partial(
    Transformer,
    vocab_size=58_101,
    max_length=512,
    activation="silu",
    sines_first=True,
    logits_bias=True,
  ),
  "qwen2_0_5b": partial(
    Llama,
    tie_embeddings=True,
    width=896,
    depth=24,
    num_heads=14,
    num_kv_heads=2,
    mlp_dim=4864,
    **QWEN2,
  ),
  "qwen2_1_5b": partial(
    Llama,
    tie_embeddings=True,
    width=1536,
    depth=28,
    num_heads=12,
    num_kv_heads=2,
    mlp_dim=8960,
    **QWEN2,
  ),
  "smollm_135m": partial(
    Llama,
    width=576,
    depth=30,
    num_heads=9,
    num_kv_heads=3,
    mlp_dim=1536,
    **SMOLLM,
  ),
  "smollm_360m": partial(
    Llama,
    width=960,
    depth=32,
    num_heads=15,
    num_kv_heads=5,
    mlp_dim=2560,
    **SMOLLM,
  ),
  "smollm_1_7b": partial(Llama, width=2048, depth=24, mlp_dim=8192, **SMOLLM),
  "transformer_base": Transformer,
  "transformer_big": partial(
    Transformer, width=1024, num_heads=16, mlp_dim=4096
  ),
}
"""`(num_classes, **fields) -> module` by name."""
