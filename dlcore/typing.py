"""Types that the parts exchange, and the letters of their axes.

Docstrings give shapes with these letters; unpacking uses them in lower case
and einsum in capitals (`"BTHK,BSHK->BHTS"`).

  B  batch              H  heads
  T  time, query        K  head size
  S  source, key        V  vocabulary
  D  width              C  classes or channels
  F  hidden width,      Y, X  rows and columns of an image
     or the features of a table
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

Array = jax.Array
"""An array on a device, or a tracer of one."""

PyTree = Any
"""Nested dicts, tuples and dataclasses of arrays."""

Params = Mapping[str, Any]
"""Nested dict of the arrays that are differentiated."""

ModelState = Mapping[str, Any]
"""Nested dict of every other collection: `batch_stats`, `carry`, `frozen`."""

Initial = Callable[[Params, ModelState], tuple[Params, ModelState]]
"""Replaces random initial values by others of the same shapes."""

Batch = Mapping[str, Any]
"""Arrays `[B, ...]` by name. The names in use:

`image` uint8 or float `[B, Y, X, C]`, `features` float32 `[B, F]`, `input_ids`
int `[B, T]`, `segment_ids` int32 `[B, T]` (the document of each token of a
packed row, 0 for padding), `positions` int32 `[B, T]` (within that document),
`labels` int32 `[B, T]` (one for each token, -100 where none is scored),
`label` int32 `[B]`, or 0 and 1 `[B, C]` for labels that co-occur,
`target` float32 `[B]`, `weight` float32 `[B]` (of the example in the loss and
the metrics), `index` int32 `[B]` (the position of the example in its source),
`slot` int32 `[B]` (its position in the global batch), `begins` bool `[B]` (true
where carried state is reset) and `mask` float32 `[B]` (0 marks padding).
"""

Metrics = Mapping[str, tuple[Any, Any]]
"""`(sum, count)` pairs by name, which add up over batches and devices.

Sums may be arrays, such as one number for each class. A name that starts with
an underscore is an input of `Task.derived` only."""

Schedule = Callable[[Any], Any]
"""`(step) -> learning rate`."""
