"""The table of every row and every script: works, or refused for a reason.

A row of a table of dlcore is combined with data that fits it. `Row.outcomes`
has `WORKS` or the reason of the refusal for each script; a reason is a text in
an error of at most three lines. `Row.settings` are overrides of a config that
make the row small.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import small

WORKS = "works"
SCRIPTS = (
  "train --summary",
  "train",
  "evaluate",
  "predict",
  "export --format=safetensors",
  "export --format=stablehlo",
  "report",
)
ALL = dict.fromkeys(SCRIPTS, WORKS)


class Row(NamedTuple):
  """Outcomes of one row by script."""

  data: str
  """A key of `data.DATASETS`, or `tokens` or `pairs`, data sets of the test."""

  settings: Mapping[str, Any]
  outcomes: Mapping[str, str] = ALL

  task: str = "classification"
  """A task that fits the data set."""

  model: Mapping[str, Any] = {"name": "mlp", "widths": (8,)}
  """A model that fits the data set."""


TEXT = {
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "mlp_dim": 8,
  "max_length": 8,
}
LANGUAGE = {**TEXT, "head": "classifier"}
LLAMA = {**LANGUAGE, "num_kv_heads": 0, "head_dim": 0}
RECURRENT = {"width": 4}
RESNET = {"stages": (1, 1)}
EFFICIENTNET = small.IMAGES["efficientnet_lite0"]
MIXER = small.IMAGES["mixer"]
VGG = small.IMAGES["vgg11"]
CONVNEXT = small.IMAGES["convnext_tiny"]
VIT = {"patch_size": 4, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 8}


def translator(settings: Mapping[str, Any]) -> Row:
  """Returns the row of a model that reads a source and a target."""
  return Row("pairs", settings, task="sequence_to_sequence")


MODELS = {
  "bert_base": Row("tokens", TEXT),
  "bert_large": Row("tokens", TEXT),
  "cnn": Row("digits", {"stages": ((4,),)}),
  "convnext_base": Row("digits", CONVNEXT),
  "convnext_small": Row("digits", CONVNEXT),
  "convnext_tiny": Row("digits", CONVNEXT),
  "distilbert": Row("tokens", TEXT),
  "efficientnet_lite0": Row("digits", EFFICIENTNET),
  "efficientnet_lite1": Row("digits", EFFICIENTNET),
  "efficientnet_lite2": Row("digits", EFFICIENTNET),
  "efficientnet_lite3": Row("digits", EFFICIENTNET),
  "efficientnet_lite4": Row("digits", EFFICIENTNET),
  "gpt2": Row("tokens", LANGUAGE),
  "gpt2_large": Row("tokens", LANGUAGE),
  "gpt2_medium": Row("tokens", LANGUAGE),
  "gpt2_xl": Row("tokens", LANGUAGE),
  "gru": Row("tokens", RECURRENT),
  "lenet5": Row("digits", {}),
  "llama2_7b": Row("tokens", LLAMA),
  "llama3_2_1b": Row("tokens", LLAMA),
  "llama3_2_3b": Row("tokens", LLAMA),
  "llama3_8b": Row("tokens", LLAMA),
  "lstm": Row("tokens", RECURRENT),
  "marian": translator(TEXT),
  "minilm_l12": Row("tokens", TEXT),
  "minilm_l6": Row("tokens", TEXT),
  "mixer": Row("digits", MIXER),
  "mixer_base": Row("digits", MIXER),
  "mlp": Row("breast_cancer", {"widths": (8,)}),
  "ngram_bag": Row("tokens", {"width": 4, "buckets": 32}),
  "qwen2_0_5b": Row("tokens", LLAMA),
  "qwen2_1_5b": Row("tokens", LLAMA),
  "resnet101": Row("digits", RESNET),
  "resnet110": Row("digits", RESNET),
  "resnet152": Row("digits", RESNET),
  "resnet18": Row("digits", RESNET),
  "resnet20": Row("digits", RESNET),
  "resnet32": Row("digits", RESNET),
  "resnet34": Row("digits", RESNET),
  "resnet44": Row("digits", RESNET),
  "resnet50": Row("digits", RESNET),
  "resnet56": Row("digits", RESNET),
  "rnn": Row("tokens", RECURRENT),
  "seq2seq": translator(RECURRENT),
  "smollm_135m": Row("tokens", LLAMA),
  "smollm_1_7b": Row("tokens", LLAMA),
  "smollm_360m": Row("tokens", LLAMA),
  "ngram_cnn": Row("tokens", {"width": 4, "features": 2, "buckets": 64}),
  "text_cnn": Row("tokens", {"width": 4, "features": 2}),
  "tabular": Row("breast_cancer", {"widths": (8,), "members": 2}),
  "transformer_base": translator(TEXT),
  "transformer_big": translator(TEXT),
  "vgg11": Row("digits", VGG),
  "vgg16": Row("digits", VGG),
  "vit_base": Row("digits", VIT),
  "vit_large": Row("digits", VIT),
  "vit_small": Row("digits", VIT),
  "vit_tiny": Row("digits", VIT),
  "wide_resnet28_10": Row("digits", small.IMAGES["wide_resnet28_10"]),
}
"""With `num_classes` and `vocab_size` from the data. All are tiny models: the
summaries of full size are a test of their own."""

FEATURES = {
  "breast_cancer": WORKS,
  "digits": WORKS,
  "tokens": WORKS,
  "pairs": "which takes input_ids and decoder_input_ids",
}
"""The outcome of experiments/features.py for a run, by the data set."""

REFUSED_DATA = {
  "digits": (
    "expected token ids, integers [B, T]",
    "expected series, floats [B, T, F]",
  ),
  "tokens": (
    "expected images, [B, Y, X, C]",
    "expected a floating-point input",
    "takes input_ids and decoder_input_ids",
  ),
}
"""The reasons for which models refuse data of another kind."""

TWO_CLASSES = dict.fromkeys(SCRIPTS, "whose target is a number")
ONE_LABEL = dict.fromkeys(SCRIPTS, "of several labels")
TAGGER = {"name": "lstm", **RECURRENT, "head": "tokens"}
LANGUAGE_MODEL = {"name": "gru", "width": 4, "head": "lm"}
TRANSLATOR = {"name": "seq2seq", **RECURRENT}
ENCODER = {
  "name": "bert_base",
  **TEXT,
  "head": "embedding",
  "poolings": ("mean",),
}
MASKED = {"name": "bert_base", **TEXT, "max_length": 128, "head": "mlm"}
A_NUMBER = dict.fromkeys(SCRIPTS, "which has 10 classes")
NO_TOKENS = dict.fromkeys(SCRIPTS, "whose input is 'image'")
TASKS = {
  "classification": (Row("digits", {}), Row("diabetes", {}, TWO_CLASSES)),
  "language_model": (
    Row("docs_text", {}, model=LANGUAGE_MODEL),
    Row("digits", {}, NO_TOKENS),
  ),
  "masked_language_model": (
    Row("docs_text", {}, model=MASKED),
    Row("digits", {}, NO_TOKENS),
  ),
  "multilabel": (Row("several", {}), Row("digits", {}, ONE_LABEL)),
  "regression": (Row("diabetes", {}), Row("digits", {}, A_NUMBER)),
  "sequence_to_sequence": (
    Row("pairs", {}, model=TRANSLATOR),
    Row("tokens", {}, dict.fromkeys(SCRIPTS, "pairs of a source")),
  ),
  "text_embedding": (
    Row("similar", {}, model=ENCODER),
    Row("tokens", {}, dict.fromkeys(SCRIPTS, "that are encoded apart")),
  ),
  "tagging": (
    Row("tagged", {}, model=TAGGER),
    Row("digits", {}, dict.fromkeys(SCRIPTS, "'labels' of classes")),
  ),
}
"""A row that fits the task, and one that does not."""


def refused(reason: str) -> dict[str, str]:
  """Returns outcomes that are all refusals."""
  return dict.fromkeys(SCRIPTS, reason)


# Without a file the reason is what to set; tests/data reads small archives.
OFFLINE = {"download": False}
DATASETS = {
  "ag_news_subset": Row("ag_news_subset", OFFLINE, refused("manual_dir")),
  "breast_cancer": Row("breast_cancer", {}),
  "chat": Row("chat", {}, refused("data.path")),
  "cifar10": Row("cifar10", OFFLINE, refused("manual_dir")),
  "cifar100": Row("cifar100", OFFLINE, refused("manual_dir")),
  "cmudict": Row("cmudict", {}, task="sequence_to_sequence", model=TRANSLATOR),
  "cmudict_stress": Row("cmudict_stress", {}, task="tagging", model=TAGGER),
  "diabetes": Row("diabetes", {}, task="regression"),
  "digits": Row("digits", {}),
  "docs_text": Row(
    "docs_text", {}, task="language_model", model=LANGUAGE_MODEL
  ),
  "fashion_mnist": Row("fashion_mnist", OFFLINE, refused("manual_dir")),
  "glue/mnli": Row("glue/mnli", OFFLINE, refused("manual_dir")),
  "glue/sst2": Row("glue/sst2", OFFLINE, refused("manual_dir")),
  "glue/stsb": Row("glue/stsb", OFFLINE, refused("manual_dir")),
  "image_folder": Row("image_folder", {}, refused("data.path")),
  "imagenet2012": Row("imagenet2012", OFFLINE, refused("manual_dir")),
  "imdb_reviews": Row("imdb_reviews", OFFLINE, refused("manual_dir")),
  "kmnist": Row("kmnist", OFFLINE, refused("manual_dir")),
  "language_id": Row("language_id", {}, model={"name": "gru", "width": 4}),
  "lm1b": Row("lm1b", OFFLINE, refused("manual_dir")),
  "mnist": Row("mnist", OFFLINE, refused("manual_dir")),
  "number_words": Row(
    "number_words", {}, task="sequence_to_sequence", model=TRANSLATOR
  ),
  "npz_file": Row("npz_file", {}, refused("data.path")),
  "reviews": Row("reviews", {}, model={"name": "ngram_bag", "width": 4}),
  "similar_texts": Row("similar_texts", {}, refused("data.path")),
  "tagged_text": Row("tagged_text", {}, refused("data.path")),
  "table_csv": Row("table_csv", {}, refused("data.path")),
  "table_file": Row("table_file", {}, refused("data.path")),
  "ted_hrlr_translate/pt_to_en": Row(
    "ted_hrlr_translate/pt_to_en", OFFLINE, refused("manual_dir")
  ),
  "text_csv": Row("text_csv", {}, refused("data.text")),
  "text_file": Row("text_file", {}, refused("data.path")),
  "text_folder": Row("text_folder", {}, refused("data.path")),
  "text_pairs": Row("text_pairs", {}, refused("data.path")),
  "tfds": Row("tfds", {}, refused("data.builder")),
  "tfds_corpus": Row("tfds_corpus", {}, refused("data.builder")),
  "tfds_pairs": Row("tfds_pairs", {}, refused("data.builder")),
  "tfds_text": Row("tfds_text", {}, refused("data.builder")),
  "wmt14_translate/de-en": Row(
    "wmt14_translate/de-en", OFFLINE, refused("manual_dir")
  ),
}

LARGE = ("cmudict", "cmudict_stress", "number_words")
"""Data sets that load in seconds."""

OPTIMIZERS = dict.fromkeys(
  (
    *("adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax"),
    *("adamw", "adan", "ademamix", "adopt", "amsgrad", "lamb", "lars"),
    *("lion", "momentum", "muon", "nadam", "nesterov", "novograd"),
    *("prodigy", "radam", "rmsprop", "schedule_free_adamw"),
    *("schedule_free_sgd", "sgd", "yogi"),
  ),
  WORKS,
)
SCHEDULES = dict.fromkeys(
  (
    *("constant", "cosine", "inverse_sqrt", "linear", "one_cycle"),
    *("plateau", "polynomial", "step", "trapezoid", "warmup_cosine"),
  ),
  WORKS,
)

AUGMENTATIONS = {
  "blur": 0.5,
  "brightness": 0.2,
  "contrast": 0.2,
  "crop": 1,
  "cutmix": 1.0,
  "cutout": 2,
  "erase": 0.2,
  "flip": True,
  "mixup": 0.4,
  "noise": 0.1,
  "randaugment": 2.0,
  "resized_crop": 0.5,
  "rotate": 10.0,
  "saturation": 0.2,
  "scale": 0.1,
  "shear": 5.0,
  "shift": 1,
  "trivialaugment": True,
}
"""A value for each; all work with images and are refused for other data."""

TOKEN_AUGMENTATIONS = {
  "token_dropout": 0.1,
  "token_masking": 0.1,
  "word_order": 3,
}
"""A value for each; all are of token ids and are refused for other data."""

NO_TOKEN_IDS = "expected a batch with token ids"
NO_IMAGE = "expected a batch with images to augment"
