import errno
import logging
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import command
from dlcore.errors import UserError

FLAGS = [
  (["--workdri=x"], "'workdir'"),
  (["--summry"], "'summary'"),
  (["--workdir"], "Missing value"),
  (["--workdir="], "an empty --workdir"),
  (["--summary=maybe"], "'maybe'"),
  (["stray"], "'stray'"),
  (["--config"], "alone"),
  (["--config.seed"], "alone"),
  (["--config.data.name", "--summary"], "alone"),
  (["--config=a.py", "--config=b.py"], "a.py and b.py"),
]
KEYS = [
  ("training.step=3", "'steps'"),
  ("trainig.steps=3", "'training.steps'"),
  ("learning_rate=3", "'optim.learning_rate'"),
  ("training=3", "training, which is a section"),
  ("model=cmn", "'cnn'"),
  ("training.steps.x=3", "training.steps is a single value"),
  ("=3", "data, init, model"),
  ("model.name=cmn", "'cnn'"),
  ("data.name=digit", "'digits'"),
  ("optim.name=adm", "'adam'"),
  ("optim.schedule.name=warmup", "warmup_cosine"),
  ("task.name=clasification", "'classification'"),
  ("data.augment.shfit=1", "'shift'"),
  ("training.steps=1.5", "'1.5'"),
  ("model.batch_norm=maybe", "'maybe'"),
  ("model.stages=((16,),(x,))", "tuple"),
  ("model.stages=16", "((16,), (32,))"),
  ("optim.learning_rate=nan", "nan"),
  ("training.steps=-1", "-1"),
  ("data.batch_size=0", "data.batch_size"),
  ("training.epochs=inf", "config.training.epochs"),
  (".seed=3", "'seed'"),
  ("optim.schedule=warmup", "warmup_cosine"),
  ("data.batch_size=1e3", "--config.data.batch_size of type int"),
  ("model.name=", "config.model.name"),
  ("optim.l1=-1", "config.optim.l1"),
]
RENAMED = [
  ("vit_tiny", "heads", "num_heads"),
  ("llama2_7b", "key_value_heads", "num_kv_heads"),
  ("transformer_base", "bias", "logits_bias"),
]
PARTS = [
  ("model.activation=rlu", "'relu'"),
  ("model.dropout=2", "model.dropout"),
  ("model.kernel_size=0", "model.kernel_size"),
  ("model.stages=()", "model.stages"),
  ("model.initializer=hee", "'he'"),
  ("model.stages=((4,),(4,),(4,),(4,),(4,))", "8x8"),
  ("data.augment.shift=99", "data.augment.shift"),
  ("data.batch_size=9999", "data.batch_size of at most 808"),
  ("training.epochs=0", "training.steps or training.epochs"),
  ("training.epochs=1e30", "at most 2,147,483,647 steps"),
  ("training.steps=9999999999", "training.steps=9999999999"),
  ("training.dtype=float16", "'bfloat16'"),
  ("training.compile=jitt", "'jitt'"),
  ("data.placement=gpu", "'gpu'"),
  ("sharding.devices=99", "sharding.devices"),
  ("optim.no_decay=(", "regular expression"),
  ("optim.b1=1", "optim.b1"),
  ("optim.rates=('head', 10)", "(('head', 10.0),)"),
  ("optim.layer_decay=0.5", "expected optim.layers"),
  ("optim.schedule.warmup=2", "optim.schedule.warmup"),
  ("task.class_weights=1,2", "task.class_weights of 10 numbers"),
  ("task.class_weights=a,b", "task.class_weights"),
  ("task.class_weights=(0,0)", "task.class_weights"),
  ("task.views=flip,flpi", "task.views"),
  ("task.label_smoothing=1", "task.label_smoothing"),
  ("data.valid_fraction=1", "data.valid_fraction"),
  ("task.name=regression", "the task 'classification'"),
  ("data.name=breast_cancer", "task.views"),
  ("data.name=diabetes", "the task 'regression'"),
  ("data.name=image_folder", "data.path"),
]
FILES = {
  "def get_config(": "line 1",
  "x = 1": "got None",
  "get_config = 3": "got 3",
  "def get_config(): return 3": "got int",
  "import nosuchmodule": "No module named 'nosuchmodule'",
  "\n\ndef get_config():\n  return 1 / 0": "ZeroDivisionError on line 4",
  "raise SystemExit": "SystemExit",
  "from dlcore import experiment\n"
  "def get_config(): return experiment.config(seeed=3)": "'seed'",
}


def error_lines(answer) -> str:
  """Checks that a mistake is reported as such, and returns its lines."""
  assert answer.code == command.EXIT_CODES["mistake"]
  lines = [line for line in answer.err if not line.startswith("warning: ")]
  assert lines[0].startswith("error: ")
  assert len(lines) <= 3, answer.err
  return "\n".join(lines)


def test_exit_codes_are_distinct_and_signals_have_the_codes_of_shells():
  codes = command.EXIT_CODES
  assert codes["success"] == 0
  # The code of the interpreter for an exception that is not caught.
  assert codes["failure"] == 1
  assert len(set(codes.values())) == len(codes)
  assert codes["interrupted"] == 128 + signal.SIGINT
  assert codes["terminated"] == 128 + signal.SIGTERM


@pytest.mark.parametrize(("arguments", "hint"), FLAGS)
def test_a_wrong_flag_is_a_mistake(shell, arguments, hint):
  assert hint in error_lines(shell("train", *arguments))


@pytest.mark.parametrize(("override", "hint"), KEYS)
def test_a_wrong_override_is_a_mistake(shell, override, hint):
  assert hint in error_lines(shell("train", f"--config.{override}"))


@pytest.mark.parametrize(("model", "old", "new"), RENAMED)
def test_a_former_key_is_a_mistake_with_its_new_name(shell, model, old, new):
  arguments = [f"--config.model.name={model}", f"--config.model.{old}=2"]
  lines = error_lines(shell("train", *arguments))
  assert f"expected --config.model.{new}\n" in lines
  assert f"got --config.model.{old}" in lines


@pytest.mark.parametrize(("override", "hint"), PARTS)
def test_parts_that_do_not_fit_are_a_mistake_before_training(
  shell, override, hint
):
  arguments = ["--config.sharding.devices=1", f"--config.{override}"]
  assert hint in error_lines(shell("train", "--workdir=run", *arguments))


def test_a_batch_that_does_not_divide_by_the_devices_shows_the_quotient(shell):
  lines = error_lines(shell("train", "--config.data.batch_size=12"))
  assert "12 / 8 = 1.5" in lines


@pytest.mark.parametrize(("text", "hint"), FILES.items())
def test_a_wrong_config_file_is_a_mistake(shell, tmp_path, text, hint):
  (tmp_path / "mine.py").write_text(text)
  assert hint in error_lines(shell("train", "--config=mine.py"))


@pytest.mark.parametrize(
  ("path", "hint"),
  [
    ("mime.py", "'mine.py'"),
    ("", "got ''"),
    ("nowhere/digits_cmn.py", "'digits_cnn.py'"),
    ("mine.py:large", "'large'"),
  ],
)
def test_a_missing_config_is_a_mistake_with_the_nearest_file(
  shell, tmp_path, path, hint
):
  (tmp_path / "mine.py").write_text("def get_config(): pass")
  assert hint in error_lines(shell("train", f"--config={path}"))


@pytest.mark.parametrize(
  ("line", "hint"),
  [
    ("evaluate", "no --workdir"),
    ("evaluate --workdir=nowhere", "config.json, at nowhere"),
    ("evaluate --workdir=RUN --step=x", "of type int"),
    ("evaluate --workdir=RUN --split=tst", "'test'"),
    ("evaluate --workdir=RUN --step=99", "2, 3"),
    ("evaluate --workdir=RUN stray", "'stray'"),
    ("predict --workdir=RUN", "files or folders to predict"),
    ("predict --workdir=RUN nowhere.png", "no such file"),
    ("predict --workdir=RUN file", "got 1 that cannot"),
    ("predict --workdir=RUN empty", "empty folder"),
    ("export --workdir=RUN --format=onnx --output=x", "stablehlo"),
    ("export --workdir=RUN --format=safetensors", "no --output"),
    ("export --workdir=RUN --format=safetensors --output=file", "File exists"),
    ("export --workdir=RUN --format=stablehlo --output=empty", "a directory"),
    ("report", "folder of a run"),
    ("report file", "config.json, at file"),
    ("report RUN RUN", "every run once"),
    ("report RUN --output=empty", "Is a directory"),
    ("train --workdir=file", "writable folder"),
    ("train --workdir=RUN --seeds=2", "a single run"),
    ("train --profile=9999:10000", "before step 1515"),
  ],
)
def test_a_wrong_command_line_is_a_mistake(shell, tmp_path, copy, line, hint):
  (tmp_path / "file").write_text("x")
  (tmp_path / "empty").mkdir()
  answer = shell(*line.replace("RUN", str(copy)).split())
  assert hint in error_lines(answer)


def test_a_script_without_a_config_rejects_one(shell):
  assert "got x.py" in error_lines(shell("evaluate", "--config=x.py"))
  lines = error_lines(shell("report", "--config.seed=3", "run"))
  assert "got --config.seed" in lines


@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "report"])
def test_help_lists_flags_and_exit_codes(shell, script):
  answer = shell(script, "--help")
  assert answer.code == command.EXIT_CODES["success"]
  assert f"{script}.py" in answer.out
  assert script == "report" or "--workdir=" in answer.out
  assert "2 mistake" in answer.out


def test_help_lists_every_key_of_the_config_that_it_is_given(shell):
  answer = shell("train", "--help", "--config.model.name=mlp")
  for key in ("seed=0", "model.name=mlp", "model.widths=", "optim.b1=0.9"):
    assert f"--config.{key}" in answer.out
  assert "model.stages" not in answer.out
  lines = error_lines(shell("train", "--help", "--config.model.name=mpl"))
  assert "'mlp'" in lines


def test_an_unknown_flag_is_reported_before_jax_is_imported():
  code = (
    "import sys\n"
    "from dlcore import command\n"
    "code = command.call(print, ['x', '--nope'])\n"
    "sys.exit(code + 10 * ('jax' in sys.modules))"
  )
  result = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert result.returncode == command.EXIT_CODES["mistake"]


def failing(error):
  def main():
    raise error

  return main


def test_an_unexpected_error_keeps_its_traceback(shell):
  with pytest.raises(ZeroDivisionError):
    shell("report", main=failing(ZeroDivisionError()))


def test_an_unexpected_error_ends_the_process_as_a_failure():
  code = (
    "import sys\n"
    "from dlcore import command\n"
    "sys.argv = ['x']\n"
    "command.run(lambda: 1 / 0)"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True
  )
  assert result.returncode == command.EXIT_CODES["failure"]
  assert "ZeroDivisionError" in result.stderr


def test_a_full_disk_is_a_mistake(shell):
  error = OSError(errno.ENOSPC, "No space left on device", "run/x")
  assert "disk" in error_lines(shell("report", main=failing(error)))


@pytest.mark.parametrize(
  ("error", "hint"),
  [
    (PermissionError(errno.EACCES, "denied", "/proc/1/cwd"), "/proc/1/cwd"),
    (ValueError("embedded null byte"), "null bytes"),
  ],
)
def test_a_path_that_cannot_be_used_is_a_mistake(shell, error, hint):
  assert hint in error_lines(shell("report", main=failing(error)))


def device_memory():
  # More than the 128 TiB of addresses of a process, so that malloc fails even
  # if the kernel overcommits.
  large = jax.jit(lambda x: jnp.arange(2**46, dtype=jnp.float32) + x)
  large(1.0).block_until_ready()


def host_memory():
  np.zeros(2**46)


@pytest.mark.parametrize(
  ("allocate", "memory", "size"),
  [
    (device_memory, "device memory", "256.0 TiB"),
    (host_memory, "host memory", "512. TiB"),
  ],
)
def test_exhausted_memory_is_a_mistake_with_the_size(
  shell, allocate, memory, size
):
  first, second, third = error_lines(
    shell("report", main=allocate)
  ).splitlines()
  assert memory in first
  assert size in second
  assert "memory" in third


@pytest.mark.parametrize(
  ("message", "got"),
  [
    (
      "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 "
      "bytes.",
      "got a request for 16.0 GiB",
    ),
    (
      "RESOURCE_EXHAUSTED: CompileTimeHbmOom: ... 117.18G exceeds available "
      "HBM (15.75G)",
      "got a program that uses 117.18G exceeds available HBM (15.75G)",
    ),
    ("RESOURCE_EXHAUSTED: of something", "got: RESOURCE_EXHAUSTED: of"),
  ],
)
def test_exhausted_memory_in_training_names_the_settings(shell, message, got):
  def main(config, name):
    try:
      raise jax.errors.JaxRuntimeError(message)
    finally:
      raise ValueError

  lines = error_lines(shell("train", main=main))
  assert got in lines
  for setting in ("training.accumulate", "model.remat", "data.batch_size"):
    assert setting in lines


def test_other_errors_of_the_runtime_keep_their_traceback(shell):
  error = jax.errors.JaxRuntimeError("INTERNAL: of XLA")
  with pytest.raises(jax.errors.JaxRuntimeError):
    shell("report", main=failing(error))


def test_a_failure_after_a_mistake_does_not_hide_it(shell):
  def main():
    try:
      raise UserError("expected one", "got\ntwo")
    finally:
      raise ValueError

  lines = error_lines(shell("report", main=main))
  assert lines == "error: expected one\n  got two"


def test_an_interruption_is_one_line(shell):
  answer = shell("report", main=failing(KeyboardInterrupt()))
  code = command.EXIT_CODES["interrupted"]
  assert (answer.code, answer.err) == (code, ["interrupted"])


def test_a_stopped_run_has_the_code_of_its_signal_and_can_be_resumed(shell):
  class Stopped(Exception):
    number = signal.SIGTERM

  answer = shell("report", main=failing(Stopped("SIGTERM after step 3")))
  assert answer.code == command.EXIT_CODES["terminated"]
  (line,) = answer.err
  assert line.startswith("stopped by SIGTERM after step 3")
  assert "same command resumes" in line


def test_tables_keep_their_lines_and_warnings_are_single_lines(shell):
  def main():
    logging.getLogger("dlcore").info("matched   4 of 4\nunused    1")
    logging.getLogger("dlcore").warning("two\nare skipped")
    logging.getLogger().warning("of another package")

  answer = shell("report", main=main)
  table = ["matched   4 of 4", "unused    1"]
  assert answer.err == [*table, "warning: two are skipped"]
