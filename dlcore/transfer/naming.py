"""In whose names weights are, and what each name is for a model."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import models
from dlcore.errors import UserError, lookup
from dlcore.transfer import files
from dlcore.transfer import rules as tables
from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.rules import Rule

OWN = "dlcore"
"""The names that are our paths: of runs, and of models nobody else has."""


class Naming(NamedTuple):
  """A family, and its rules for one model."""

  name: str
  family: Family
  rules: Sequence[Rule]


def _build(config: Mapping[str, Any]) -> Any:
  """Builds a model of our own from the config.json of an export.

  Raises:
    UserError: it was written without the model.
  """
  if "model" not in config:
    raise UserError(
      "expected a config.json that names the model",
      "got one that was written without it",
      "build the model, and give it to transfer.load_pretrained",
    )
  section = {key: _tuples(value) for key, value in config["model"].items()}
  return models.create(section.pop("name"), **section)


def _tuples(value: Any) -> Any:
  """Returns JSON's lists as tuples, which the fields of models are."""
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  return (jax.ShapeDtypeStruct((1, *config["input"]), np.float32),)


OURS = Family(
  rules=lambda model: (),
  build=_build,
  config=lambda model: {},
  inputs=_inputs,
)
"""Models by their name in `MODELS`; the rules are made from the paths, and
the one who exports tells the name and the shape of the input."""


def of(name: str, model: Any, paths: Iterable[str]) -> Naming:
  """Returns the naming called `name`.

  Raises:
    UserError: there is no such family, or it is not one of such models.
  """
  if name == OWN:
    return Naming(OWN, OURS, [Rule(path, path) for path in paths])
  family = lookup({**FAMILIES, OWN: OURS}, name, "family of weights")
  if not _fits(family, model):
    raise UserError(
      f"expected a model of the family {name!r}, which the weights are of",
      f"got a {type(model).__name__}",
      "take another model or other weights",
    )
  return Naming(name, family, family.rules(model))


def guess(
  config: Mapping[str, Any] | None,
  names: Collection[str],
  model: Any,
  paths: Collection[str],
) -> Naming:
  """Returns the naming that a config.json tells, or that the names fit best.

  Raises:
    UserError: there is none.
  """
  if name := named(config):
    _check_known(name)
    return of(name, model, paths)
  if any(name.startswith("params/") for name in names):
    return of(OWN, model, paths)
  found = [of(name, model, paths) for name in suited(model)]
  scores = [len(_reads(naming, names, paths)) for naming in found]
  if max(scores, default=0) > 0:
    return found[scores.index(max(scores))]
  examples = ", ".join(files.shown(name) for name in list(names)[:3])
  raise UserError(
    f"expected weights of a {type(model).__name__}, in the names of "
    f"{', '.join([*suited(model), OWN])}",
    f"got {len(names)} arrays: {examples or 'none'}",
    "name the family, or take weights of such a model",
  )


def suited(model: Any) -> list[str]:
  """Returns the names of the families of such a model, the first preferred."""
  return [
    name
    for name, family in FAMILIES.items()
    if family.model is not None and _fits(family, model)
  ]


def named(config: Mapping[str, Any] | None) -> str | None:
  """Returns the family that a config.json names, None if it names none."""
  config = config or {}
  if isinstance(kind := config.get("model_type"), str):
    return kind
  architecture = str(config.get("architecture", ""))
  ends = (name.removeprefix("timm/") for name in FAMILIES if "timm/" in name)
  fitting = [end for end in ends if end in architecture]
  return f"timm/{max(fitting, key=len)}" if fitting else None


def family(config: Mapping[str, Any] | None, where: Any) -> Family:
  """Returns the family that a config.json names.

  Raises:
    UserError: there is none, or it names none that is known.
  """
  name = named(config)
  if name is None:
    kind = (config or {}).get("architecture")
    raise UserError(
      f"expected a config.json of a known model in {where}",
      f"got the architecture {kind!r}" if kind else "got no model_type",
      "build the model, and give it to transfer.load_pretrained",
    )
  _check_known(name)
  return {**FAMILIES, OWN: OURS}[name]


def _check_known(name: str) -> None:
  """Checks the family that a config.json names.

  Raises:
    UserError: lists those of transformers; what is spelled alike is another.
  """
  if name not in (*FAMILIES, OWN):
    known = ", ".join(name for name in FAMILIES if "/" not in name)
    raise UserError(
      f"expected a model_type among {known}",
      f"got {name!r}",
      "such a model is not known here",
    )


def aliases(naming: Naming, names: Collection[str]) -> dict[str, str]:
  """Returns the published names by those that the rules have for them.

  They differ where the weights are of a model with a head and the rules are
  of one without, or the other way round.
  """
  prefix = naming.family.prefix
  if not prefix:
    return {name: name for name in names}
  found = {name: name for name in names if _is_known(naming.rules, name)}
  for name in names:
    others = [prefix + name, name.removeprefix(prefix)]
    known = [o for o in others if _is_known(naming.rules, o)]
    key = known[0] if known and known[0] not in found else name
    found.setdefault(key, name)
  return found


def _is_known(rules: Sequence[Rule], name: str) -> bool:
  return any(tables.match(rule.theirs, name) is not None for rule in rules)


def _fits(family: Family, model: Any) -> bool:
  return family.model is None or isinstance(model, family.model)


def _reads(
  naming: Naming, names: Collection[str], paths: Collection[str]
) -> list:
  renamed = aliases(naming, names)
  return tables.plan(naming.rules, renamed, paths).reads
