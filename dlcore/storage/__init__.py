"""Everything of a run that must survive: files, checkpoints, metric log."""

from dlcore.storage.atomic import write_atomic as write_atomic
from dlcore.storage.json_file import open_plain as open_plain
from dlcore.storage.json_file import parse_json as parse_json
from dlcore.storage.json_file import read_json as read_json
from dlcore.storage.lock import locked as locked
