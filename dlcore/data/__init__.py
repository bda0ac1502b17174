"""Data sets by name, local files, and batches of them.

A data set is a row of `DATASETS`, a function that returns `Splits`. Its kind of
data, such as images, is a `Schema`, a row of `SCHEMAS`: the description of the
arrays, and how new files of that kind are read.
"""

import functools
import logging
import reprlib
from collections.abc import Callable
from typing import Any

from dlcore.data.array_schema import ArraySchema
from dlcore.data.array_source import from_arrays, sha256_v0_1
from dlcore.data.bucketing import Bucketed, bucketed
from dlcore.data.holdout import hold_out
from dlcore.data.images.digits import digits
from dlcore.data.images.image_folder import image_folder
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.info import DataInfo, ReadBatch, Schema
from dlcore.data.loader import (
  batches,
  cut,
  evaluation_batches,
  rows_to_arrays,
)
from dlcore.data.mix import mix
from dlcore.data.npz_file import npz_file
from dlcore.data.order import (
  Order,
  Rows,
  in_order,
  sequential,
  shuffled,
  weighted,
)
from dlcore.data.reading import read_all
from dlcore.data.samplings import SAMPLINGS, balanced
from dlcore.data.serialization import (
  SCHEMAS,
  checksums_from_json,
  info_from_json,
  info_to_json,
)
from dlcore.data.source import Source, Splits, hash_rows, with_schema
from dlcore.data.split import check_splits, make_splits, share_vocabulary
from dlcore.data.split_settings import SplitSettings
from dlcore.data.subset import limit
from dlcore.data.tables.embedded_tables import breast_cancer, diabetes
from dlcore.data.tables.table_csv import table_csv
from dlcore.data.tables.table_file import table_file
from dlcore.data.tables.table_schema import Column, TableSchema
from dlcore.data.text.chat import chat
from dlcore.data.text.chat_schema import ChatSchema
from dlcore.data.text.corpus_schema import CorpusSchema
from dlcore.data.text.embedded_pairs import cmudict, number_words
from dlcore.data.text.embedded_tags import cmudict_stress
from dlcore.data.text.embedded_texts import language_id, reviews
from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.pair_schema import PairSchema
from dlcore.data.text.running_text import docs_text, text_file
from dlcore.data.text.similar_schema import SimilarSchema
from dlcore.data.text.similar_texts import similar_texts
from dlcore.data.text.tagged_schema import TaggedSchema
from dlcore.data.text.tagged_text import tagged_text
from dlcore.data.text.text_csv import text_csv
from dlcore.data.text.text_folder import text_folder
from dlcore.data.text.text_pairs import text_pairs
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.tokenizer import TOKENIZERS, Tokenizer
from dlcore.data.tfds.any_builder import any_builder
from dlcore.data.tfds.tfds_corpus import tfds_corpus
from dlcore.data.tfds.tfds_pairs import tfds_pairs
from dlcore.data.tfds.tfds_source import tfds_source
from dlcore.data.tfds.tfds_text import tfds_text
from dlcore.errors import UserError, check_settings, check_types, lookup

__all__ = [
  "DATASETS",
  "SAMPLINGS",
  "SCHEMAS",
  "TOKENIZERS",
  "ArraySchema",
  "Bucketed",
  "ChatSchema",
  "Column",
  "CorpusSchema",
  "DataInfo",
  "ImageSchema",
  "LibraryTokenizer",
  "Order",
  "PairSchema",
  "ReadBatch",
  "Rows",
  "Schema",
  "SimilarSchema",
  "Source",
  "SplitSettings",
  "Splits",
  "TableSchema",
  "TaggedSchema",
  "TextSchema",
  "Tokenizer",
  "balanced",
  "batches",
  "bucketed",
  "checksums_from_json",
  "cut",
  "evaluation_batches",
  "from_arrays",
  "hash_rows",
  "hold_out",
  "in_order",
  "info_from_json",
  "info_to_json",
  "limit",
  "load",
  "make_splits",
  "mix",
  "read_all",
  "rows_to_arrays",
  "sequential",
  "sha256_v0_1",
  "shuffled",
  "weighted",
  "with_schema",
]

DATASETS: dict[str, Callable[..., Splits]] = {
  "ag_news_subset": functools.partial(tfds_text, "ag_news_subset"),
  "breast_cancer": breast_cancer,
  "chat": chat,
  "cifar10": functools.partial(tfds_source, "cifar10"),
  "cifar100": functools.partial(tfds_source, "cifar100"),
  "cmudict": cmudict,
  "cmudict_stress": cmudict_stress,
  "diabetes": diabetes,
  "digits": digits,
  "docs_text": docs_text,
  "fashion_mnist": functools.partial(tfds_source, "fashion_mnist"),
  "glue/mnli": functools.partial(tfds_text, "glue/mnli"),
  "glue/sst2": functools.partial(tfds_text, "glue/sst2"),
  "glue/stsb": functools.partial(tfds_text, "glue/stsb"),
  "image_folder": image_folder,
  "imagenet2012": functools.partial(tfds_source, "imagenet2012"),
  "imdb_reviews": functools.partial(tfds_text, "imdb_reviews"),
  "kmnist": functools.partial(tfds_source, "kmnist"),
  "language_id": language_id,
  "lm1b": functools.partial(tfds_corpus, "lm1b"),
  "mnist": functools.partial(tfds_source, "mnist"),
  "npz_file": npz_file,
  "number_words": number_words,
  "reviews": reviews,
  "similar_texts": similar_texts,
  "table_csv": table_csv,
  "table_file": table_file,
  "tagged_text": tagged_text,
  "ted_hrlr_translate/pt_to_en": functools.partial(
    tfds_pairs, "ted_hrlr_translate/pt_to_en"
  ),
  "text_csv": text_csv,
  "text_file": text_file,
  "text_folder": text_folder,
  "text_pairs": text_pairs,
  "tfds": any_builder(tfds_source),
  "tfds_corpus": any_builder(tfds_corpus),
  "tfds_pairs": any_builder(tfds_pairs),
  "tfds_text": any_builder(tfds_text),
  "wmt14_translate/de-en": functools.partial(
    tfds_pairs, "wmt14_translate/de-en"
  ),
}
"""Data sets by name; the keyword arguments of an entry are its settings."""


def load(name: str, **settings: Any) -> Splits:
  """Loads a data set by name.

  Args:
    name: a key of `DATASETS`.
    **settings: keyword arguments of that entry.

  Raises:
    UserError: the name or a setting is unknown, a setting is of another type
      than its default, the data is malformed, or the splits differ in their
      input, its dtype, the target or the classes.
  """
  loader = lookup(DATASETS, name, "data set")
  check_settings(loader, settings, f"data set {name!r}")
  check_types(loader, settings)
  splits = loader(**settings)
  if not isinstance(splits, Splits) or not all(
    part is None or isinstance(part, Source) for part in splits
  ):
    raise UserError(
      f"expected the row {name!r} of DATASETS to return data.Splits of sources",
      f"got {reprlib.repr(splits)}",
      "return data.Splits(train, valid, test), or call data.make_splits",
    )
  for note in splits.train.info.notes:
    logging.getLogger("dlcore").warning(note)
  check_splits(splits)
  return share_vocabulary(splits)
