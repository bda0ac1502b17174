"""Weights by their name on the Hugging Face hub, an optional dependency."""

import logging
import re
import threading
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


def download(name: str) -> Path:
  """Returns the folder of `"org/name"`, `"gpt2"` or `"org/name@revision"`.

  What was fetched once is taken from the hub's cache and asks no network.

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
  folder = _cached(huggingface_hub, wanted)
  if folder is None:
    size = _size(huggingface_hub, repository, revision or None)
    log.info("downloading hf:%s: %.1f MB", name, size / 1e6)
    try:
      folder = Path(huggingface_hub.snapshot_download(**wanted))
    except Exception as error:
      raise _unreachable(repository, _told(error)) from error
  return folder


def _cached(hub: Any, wanted: dict[str, Any]) -> Path | None:
  """Returns the folder in the hub's cache, None where no weights are in it."""
  try:
    folder = Path(hub.snapshot_download(**wanted, local_files_only=True))
  except OSError:  # LocalEntryNotFoundError is one.
    return None
  return folder if any(folder.glob("*.safetensors")) else None


def _size(hub: Any, repository: str, revision: str | None) -> int:
  """Returns the bytes that are to be fetched.

  Raises:
    UserError: the hub does not answer in time, or has no such weights.
  """
  answer: list[Any] = []

  def ask() -> None:
    try:
      # Its own timeout leaves out the look-up of the host's name.
      info = hub.HfApi().model_info(
        repository, revision=revision, files_metadata=True, timeout=PATIENCE
      )
      answer.append({file.rfilename: file.size for file in info.siblings})
    except Exception as error:  # Whatever its client raises.
      answer.append(error)

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(PATIENCE)
  found = answer[0] if answer else TimeoutError(f"no answer in {PATIENCE:g} s")
  if isinstance(found, Exception):
    raise _unreachable(repository, _told(found)) from found
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
  return sum(sizes.values())


def _told(error: Exception) -> str:
  lines = str(error).strip().splitlines() or [""]
  return f"{type(error).__name__}: {lines[0][:120]}"


def _unreachable(repository: str, reason: str) -> UserError:
  return UserError(
    f"expected {repository} on the hub, or in its cache on this machine",
    f"got {reason}",
    "check the name and the network, or copy the folder here and name that",
  )
