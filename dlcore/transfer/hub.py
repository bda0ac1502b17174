"""Weights by their name on the Hugging Face hub, an optional dependency."""

import logging
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.transfer import files

WANTED = ("*.json", "*.safetensors")
"""The files that are fetched."""

PATIENCE = 4.0
"""Seconds in which the hub must answer."""

PART = r"\w(?:[\w.-]{0,94}\w)?"
NAME = re.compile(
  rf"(?!.*(?:--|\.\.|\.git$))(?:{PART}/)?{PART}", flags=re.ASCII
)
"""Names of repositories, by the client's own rules; old ones have no `org/`."""

log = logging.getLogger("dlcore")


def download(name: str, lacking: Callable[[Path], Collection[str]]) -> Path:
  """Returns the folder of `"org/name"`, `"gpt2"` or `"org/name@revision"`.

  What was fetched once is taken from the hub's cache and asks no network; what
  was fetched in part is completed.

  Args:
    name: on the hub.
    lacking: gives the files of weights that a folder lacks.

  Raises:
    UserError: there is no such name, no network, or no `huggingface_hub`.
  """
  repository, _, revision = name.partition("@")
  if not NAME.fullmatch(repository):
    raise UserError(
      "expected a name on the hub such as hf:org/name or hf:org/name@revision",
      f"got {files.shown(f'hf:{name}')}",
      "copy the name from the top of the model's page on huggingface.co",
    )
  try:
    import huggingface_hub
  except ImportError:
    raise UserError(
      f"expected the package huggingface_hub, which fetches hf:{name}",
      "it is not installed",
      "pip install 'dlcore[hub]', or fetch the folder yourself and name that",
    ) from None
  wanted: dict[str, Any] = {
    "repo_id": repository,
    "revision": revision or None,
    "allow_patterns": list(WANTED),
  }
  folder, whole = _cached(huggingface_hub, wanted)
  absent = lacking(folder) if folder else ()
  if folder and whole and not absent:
    return folder
  try:
    sizes = _sizes(huggingface_hub, repository, revision or None)
    new = [key for key in sizes if not folder or not (folder / key).exists()]
    size = sum(sizes[key] for key in new)
    log.info("downloading hf:%s: %.1f MB", name, size / 1e6)
    return Path(huggingface_hub.snapshot_download(**wanted))
  except UserError:
    raise
  except Exception as error:  # Whatever its client raises.
    if folder and not absent:  # The weights are there, if not all beside them.
      return folder
    raise _unreachable(repository, error, absent) from error


def _cached(hub: Any, wanted: dict[str, Any]) -> tuple[Path | None, bool]:
  """Returns the folder in the hub's cache, and whether it may be whole."""
  try:
    return Path(hub.snapshot_download(**wanted, local_files_only=True)), True
  except OSError as error:  # LocalEntryNotFoundError is one.
    # Newer clients can tell that a folder is not whole, and then name it.
    found = getattr(error, "snapshot_path", None)
    return Path(found) if found else None, False


def _sizes(hub: Any, repository: str, revision: str | None) -> dict[str, int]:
  """Returns the bytes of the files that are wanted, by name.

  Raises:
    UserError: the hub has no such weights.
    Exception: it does not answer in time, or what its client raises.
  """
  answer: list[Any] = []

  def ask() -> None:
    try:
      # Its own timeout leaves out the look-up of the host's name.
      info = hub.HfApi().model_info(
        repository, revision=revision, files_metadata=True, timeout=PATIENCE
      )
      answer.append({file.rfilename: file.size for file in info.siblings})
    except Exception as error:
      answer.append(error)

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(PATIENCE)
  found = answer[0] if answer else TimeoutError(f"no answer in {PATIENCE:g} s")
  if isinstance(found, Exception):
    raise found
  sizes = {
    name: size or 0
    for name, size in found.items()
    if "/" not in name and any(Path(name).match(end) for end in WANTED)
  }
  if not any(name.endswith(".safetensors") for name in sizes):
    raise UserError(
      f"expected weights as .safetensors in {repository} on the hub",
      f"got {', '.join(sorted(found)[:6]) or 'no files'}",
      "take another revision or name, or convert them where PyTorch is",
    )
  return sizes


def _unreachable(
  repository: str, error: Exception, absent: Collection[str]
) -> UserError:
  lines = str(error).strip().splitlines() or [""]
  told = f"{type(error).__name__}: {lines[0][:120]}"
  if absent:
    names = ", ".join(sorted(absent)[:3])
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    told = f"a cache without {names}{more}, and {told}"
  return UserError(
    f"expected {repository} on the hub, or in its cache on this machine",
    f"got {told}",
    "check the name and the network, or copy the folder here and name that",
  )
