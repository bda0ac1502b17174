"""Tasks: a model, a loss and metrics joined into a `Task`.

A new kind of task is a function that calls `make_task`, and a row of `TASKS`.
"""

from dlcore.tasks.assessment import (
  Assessable,
  Assessment,
  Trivial,
  TrivialScores,
  assess,
  trivial_scores,
)
from dlcore.tasks.classification import CLASSIFICATION, classification
from dlcore.tasks.contrastive import contrastive
from dlcore.tasks.kind import TaskKind
from dlcore.tasks.language_model import LANGUAGE_MODEL, language_model
from dlcore.tasks.lora import lora
from dlcore.tasks.masked_language_model import (
  MASKED_LANGUAGE_MODEL,
  masked_language_model,
)
from dlcore.tasks.multilabel import MULTILABEL, multilabel
from dlcore.tasks.regression import REGRESSION, regression
from dlcore.tasks.sequence_to_sequence import (
  SEQUENCE_TO_SEQUENCE,
  sequence_to_sequence,
)
from dlcore.tasks.supervised import make_task
from dlcore.tasks.tagging import TAGGING, tagging
from dlcore.tasks.text_embedding import TEXT_EMBEDDING, text_embedding
from dlcore.tasks.transforms import augmented, freeze, scaled, variables

__all__ = [
  "TASKS",
  "Assessable",
  "Assessment",
  "TaskKind",
  "Trivial",
  "TrivialScores",
  "assess",
  "augmented",
  "classification",
  "contrastive",
  "freeze",
  "language_model",
  "lora",
  "make_task",
  "masked_language_model",
  "multilabel",
  "regression",
  "scaled",
  "sequence_to_sequence",
  "tagging",
  "text_embedding",
  "trivial_scores",
  "variables",
]

TASKS: dict[str, TaskKind] = {
  "classification": CLASSIFICATION,
  "language_model": LANGUAGE_MODEL,
  "masked_language_model": MASKED_LANGUAGE_MODEL,
  "multilabel": MULTILABEL,
  "regression": REGRESSION,
  "sequence_to_sequence": SEQUENCE_TO_SEQUENCE,
  "tagging": TAGGING,
  "text_embedding": TEXT_EMBEDDING,
}
"""Kinds of tasks by name."""
