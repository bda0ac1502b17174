"""A small run of each kind of task of texts, which campaigns disturb."""

from children import Kind

FEW = {"data.batch_size": 16, "data.limit": 300, "data.eval_limit": 60}
"""Examples of a run."""

TEXTS: dict[str, Kind] = {
  "texts: classification, buckets": Kind(
    {**FEW, "model.width": 8}, "configs/language_id.py:lstm"
  ),
  "texts: tagging, buckets": Kind(
    {**FEW, "model.width": 8}, "configs/stress.py"
  ),
  "texts: language model, carry": Kind(
    {**FEW, "data.max_length": 16, "model.width": 16}, "configs/docs_lm.py"
  ),
  "texts: masked language model": Kind(
    {
      **FEW,
      "data.max_length": 16,
      "model.width": 8,
      "model.depth": 1,
      "model.num_heads": 2,
    },
    "configs/docs_mlm.py",
  ),
  "texts: translation, buckets": Kind(
    {
      **FEW,
      # All numbers have similarly many words: one bucket.
      "data.tokenizer": "characters",
      "data.max_length": 96,
      "model.width": 8,
    },
    "configs/numbers_translate.py",
  ),
  "texts: own CSV, buckets": Kind(
    {
      **FEW,
      "data.path": "dlcore/data/text/files/reviews.csv.gz",
      "data.text": "text",
      "data.target": "label",
      "data.max_length": 96,
      "model.width": 8,
    },
    "configs/text.py:gru",
  ),
}
"""By the task, and the order or the data whose state a resume could lose."""
