"""The modules of PyTorch that a model's arrays belong to."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dlcore.errors import UserError
from dlcore.transfer import load_errors, selection
from dlcore.transfer.families import name_rules
from dlcore.transfer.families.own import OWN
from dlcore.transfer.peft import layouts, module_names
from dlcore.transfer.peft.layouts import Module
from dlcore.transfer.selection import SelectedFamily

KERNEL, WEIGHT = "/kernel", ".weight"

WITHOUT_PYTORCH = (OWN, "npz/vit")
"""Families whose names are not those of modules of PyTorch."""

MERGE = (
  "write merged weights: transfer.save_pretrained, or --format=safetensors"
)


def select(name: str, model: Any, paths: Iterable[str]) -> SelectedFamily:
  """Returns a family whose names are those of modules of PyTorch.

  Args:
    name: key of `FAMILIES`.
    model: the module.
    paths: paths of the model's variables.

  Raises:
    UserError: the family has other names, or no such models.
  """
  selected = selection.by_name(name, model, paths)
  if name in WITHOUT_PYTORCH:
    known = [n for n in selection.candidate_names(model) if n != "npz/vit"]
    raise UserError(
      "expected a model with names of PyTorch, which PEFT adapts",
      f"got a {type(model).__name__} with the names of {name!r}",
      f"pass family={known[0]!r}" if known else MERGE,
    )
  return selected


def modules(
  selected: SelectedFamily, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Module]:
  """Returns the layers with kernels by their names.

  Args:
    selected: the family and its name rules for the model.
    shapes: shapes of the model's arrays by path.
  """
  found = {}
  for path in shapes:
    read = name_rules.read_of(selected.rules, path)
    if read is None or not path.endswith(KERNEL):
      continue
    if not read.name.endswith(WEIGHT) or not set(read.paths) <= set(shapes):
      continue
    name = read.name.removesuffix(WEIGHT)
    sizes = tuple(shapes[other] for other in read.paths)
    found[name] = Module(name, read.paths, read.layout, sizes)
  return found


def check_adaptable(
  modules: Mapping[str, Module], paths: Collection[str]
) -> None:
  """Checks that PEFT can adapt kernels as dlcore does.

  Args:
    modules: the layers by name.
    paths: paths of the adapted arrays.

  Raises:
    UserError: it cannot.
  """
  by_path = {
    path: module for module in modules.values() for path in module.paths
  }
  reasons = [
    f"{path} ({reason})"
    for path in paths
    if (reason := _reason(by_path.get(path)))
  ]
  if reasons:
    raise UserError(
      "expected adapters of dense layers and convolutions, which PEFT has too",
      f"got others: {load_errors.listed(reasons)}",
      f"train with another pattern, or {MERGE}",
    )


def _reason(module: Module | None) -> str:
  if module is None:
    return "it is not the kernel of a module of PyTorch"
  return layouts.unsupported(module)


def whole_modules(selected: SelectedFamily, paths: Iterable[str]) -> list[str]:
  """Returns the modules of arrays that are saved as a whole, the outermost.

  Args:
    selected: the family and its name rules for the model.
    paths: the model's paths of the arrays.

  Raises:
    UserError: an array belongs to several modules, or to the model itself.
  """
  owners = set()
  for path in paths:
    names = name_rules.names(selected.rules, path)
    parents = {name.rpartition(".")[0] for name in names}
    if len(parents) > 1 or "" in parents:
      raise UserError(
        "expected arrays that belong to one module of PyTorch each",
        f"got {path}, the array of {' and '.join(names)}",
        MERGE,
      )
    owners |= parents
  outer = [
    owner
    for owner in owners
    if not any(owner.startswith(f"{other}.") for other in owners)
  ]
  return sorted(outer)


def check_unambiguous(owner: str, known: Collection[str]) -> None:
  """Checks that a name in `modules_to_save` matches no other module.

  PEFT compares the ends of names without regard to their parts.

  Args:
    owner: the module that is saved as a whole.
    known: names of the modules with arrays.

  Raises:
    UserError: another module has the same end.
  """
  for name in known:
    inside = module_names.contains(name, owner)
    parts = [
      ".".join(name.split(".")[: i + 1]) for i in range(name.count(".") + 1)
    ]
    if not inside and any(part.endswith(owner) for part in parts):
      raise UserError(
        f"expected a name of modules_to_save that only {owner} has",
        f"got {name} too, which has the same ending",
        MERGE,
      )


def known_modules(names: Iterable[str]) -> set[str]:
  """Returns the modules of published names of arrays."""
  return {name.rpartition(".")[0] for name in names}
