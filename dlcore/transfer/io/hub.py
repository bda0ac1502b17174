"""Downloads weights from the Hugging Face hub, an optional dependency."""

import logging
import re
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from dlcore.errors import UserError, install_hint
from dlcore.filesystem import first_line, quoted

PATTERNS = ("*.jinja", "*.json", "*.safetensors", "LICENSE*", "README.md")
"""Glob patterns of the files to download."""

TIMEOUT = 4.0
"""Seconds to wait for the hub's first response."""

SEGMENT = r"\w(?:[\w.-]{0,94}\w)?"
NAME = re.compile(
  rf"(?!.*(?:--|\.\.|\.git$))(?:{SEGMENT}/)?{SEGMENT}", flags=re.ASCII
)
"""Repository names that the hub's client accepts; old ones have no `org/`."""

logger = logging.getLogger("dlcore")


def download(
  name: str, missing_files: Callable[[Path], Collection[str]]
) -> Path:
  """Returns the folder of `"org/name"`, `"gpt2"` or `"org/name@revision"`.

  A complete folder in the hub's cache is returned without network access. An
  incomplete one is completed.

  Args:
    name: repository on the hub.
    missing_files: returns the names of weight files that a folder lacks.

  Raises:
    UserError: the repository does not exist, the hub is unreachable, or
      `huggingface_hub` is not installed.
  """
  repository, _, revision = name.partition("@")
  if not NAME.fullmatch(repository):
    raise UserError(
      "expected a name on the hub such as hf:org/name or hf:org/name@revision",
      f"got {quoted(f'hf:{name}')}",
      "copy the name from the top of the model's page on huggingface.co",
    )
  try:
    import huggingface_hub
  except ImportError:
    raise UserError(
      f"expected the package huggingface_hub, which downloads hf:{name}",
      "it is not installed",
      f"install it: {install_hint('hub')}, or download the folder and pass its "
      "path",
    ) from None
  request: dict[str, Any] = {
    "repo_id": repository,
    "revision": revision or None,
    "allow_patterns": list(PATTERNS),
  }
  folder, complete = _cached(huggingface_hub, request)
  missing = missing_files(folder) if folder else ()
  if folder and complete and not missing:
    return folder
  try:
    sizes = _file_sizes(huggingface_hub, repository, revision or None)
    new = [key for key in sizes if not folder or not (folder / key).exists()]
    total = sum(sizes[key] for key in new)
    logger.info("downloading hf:%s: %.1f MB", name, total / 1e6)
    return Path(huggingface_hub.snapshot_download(**request))
  except UserError:
    raise
  except Exception as error:  # The client raises errors of many packages.
    if folder and not missing:  # All weights are cached, other files may lack.
      return folder
    raise _unreachable(repository, error, missing) from error


def _cached(hub: Any, request: dict[str, Any]) -> tuple[Path | None, bool]:
  """Returns the cached folder, and whether the client reports it complete."""
  try:
    return Path(hub.snapshot_download(**request, local_files_only=True)), True
  except OSError as error:  # LocalEntryNotFoundError is a subclass.
    # Newer clients raise for an incomplete folder and attach its path.
    path = getattr(error, "snapshot_path", None)
    return Path(path) if path else None, False


def _file_sizes(
  hub: Any, repository: str, revision: str | None
) -> dict[str, int]:
  """Returns the size in bytes of each file to download, by name.

  Raises:
    UserError: the repository has no safetensors.
    Exception: the client's own error, or a timeout.
  """
  response: list[Any] = []

  def ask() -> None:
    try:
      # The client's timeout does not cover the look-up of the host name.
      info = hub.HfApi().model_info(
        repository, revision=revision, files_metadata=True, timeout=TIMEOUT
      )
      response.append({file.rfilename: file.size for file in info.siblings})
    except Exception as error:
      response.append(error)

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(TIMEOUT)
  if not response:
    raise TimeoutError(f"no response in {TIMEOUT:g} s")
  if isinstance(response[0], Exception):
    raise response[0]
  names = response[0]
  sizes = {
    name: size or 0
    for name, size in names.items()
    if "/" not in name and any(map(Path(name).match, PATTERNS))
  }
  if not any(name.endswith(".safetensors") for name in sizes):
    raise UserError(
      f"expected weights as .safetensors in {repository} on the hub",
      f"got {', '.join(sorted(names)[:6]) or 'an empty repository'}",
      "choose another revision or name, or convert them with PyTorch",
    )
  return sizes


def _unreachable(
  repository: str, error: Exception, missing: Collection[str]
) -> UserError:
  reason = f"{type(error).__name__}: {first_line(error)}"
  if missing:
    names = ", ".join(sorted(missing)[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    reason = f"a cache without {names}{more}, and {reason}"
  return UserError(
    f"expected {repository} on the hub, or in its cache on this machine",
    f"got {reason}",
    "check the name and the network, or copy the folder here and pass its path",
  )
