"""Persistent state of a run: files, checkpoints, metric log."""

from dlcore.filesystem.atomic import write_atomic
from dlcore.filesystem.json_file import open_plain, parse_json, read_json
from dlcore.filesystem.lock import locked
from dlcore.storage.checkpoint_reader import (
  best_step,
  check_continues,
  is_good,
  is_version_0_1,
  newest_step,
  read_checkpoint,
  read_variables,
  restore,
)
from dlcore.storage.checkpoints import Checkpoints
from dlcore.storage.checksums import checked_path, is_intact, write_file
from dlcore.storage.manifest import physical_memory
from dlcore.storage.metric_log import MetricLog

__all__ = [
  "Checkpoints",
  "MetricLog",
  "best_step",
  "check_continues",
  "checked_path",
  "is_good",
  "is_intact",
  "is_version_0_1",
  "locked",
  "newest_step",
  "open_plain",
  "parse_json",
  "physical_memory",
  "read_checkpoint",
  "read_json",
  "read_variables",
  "restore",
  "write_atomic",
  "write_file",
]
