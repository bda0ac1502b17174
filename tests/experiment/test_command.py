import errno
import subprocess
import sys

import pytest

from dlcore.errors import UserError

FLAGS = [
  (["--workdri=x"], "'workdir'"),
  (["--summry"], "'summary'"),
  (["--workdir"], "Missing value"),
  (["--workdir="], "an empty one"),
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
  ("model=cnn", "name, "),
  ("training.steps.x=3", "training.steps is a single value"),
  ("=3", "there are: data, init, model"),
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
]
PARTS = [
  ("model.activation=rlu", "'relu'"),
  ("model.initializer=hee", "'he'"),
  ("model.stages=((4,),(4,),(4,),(4,),(4,))", "8x8"),
  ("data.augment.shift=99", "8x8"),
  ("data.batch_size=9999", "data.batch_size of at most 808"),
  ("training.epochs=0", "training.steps or training.epochs"),
  ("training.dtype=float16", "'bfloat16'"),
  ("training.compile=jitt", "'jitt'"),
  ("data.placement=gpu", "'gpu'"),
  ("scale.devices=99", "scale.devices"),
  ("optim.no_decay=(", "regular expression"),
  ("optim.b1=1", "optim.b1"),
  ("optim.rates=('head', 10)", "(('head', 10.0),)"),
  ("optim.layer_decay=0.5", "expected optim.layers"),
  ("optim.schedule.warmup=2", "optim.schedule.warmup"),
  ("task.class_weights=1,2", "10 numbers"),
  ("task.class_weights=a,b", "class_weights"),
  ("task.label_smoothing=1", "task.label_smoothing"),
  ("data.valid_fraction=1", "data.valid_fraction"),
  ("task.name=regression", "--config.task.name=classification"),
  ("data.name=breast_cancer", "task.views"),
  ("data.name=diabetes", "--config.task.name=regression"),
  ("data.name=image_folder", "data.path"),
]
FILES = {
  "def get_config(": "line 1",
  "x = 1": "a function get_config",
  "get_config = 3": "got 3",
  "def get_config(): return 3": "got int",
  "import nosuchmodule": "No module named 'nosuchmodule'",
  "\n\ndef get_config():\n  return 1 / 0": "ZeroDivisionError on line 4",
  "raise SystemExit": "SystemExit",
  "from dlcore import experiment\n"
  "def get_config(): return experiment.config(seeed=3)": "'seed'",
}


def told(answer) -> str:
  """Checks that it is a user's error, and returns its lines."""
  assert answer.code == 1
  assert answer.err[0].startswith("error: expected ")
  assert len(answer.err) <= 3, answer.err
  return "\n".join(answer.err)


@pytest.mark.parametrize(("arguments", "hint"), FLAGS)
def test_a_wrong_flag_is_told(shell, arguments, hint):
  assert hint in told(shell("train", *arguments))


@pytest.mark.parametrize(("override", "hint"), KEYS)
def test_a_wrong_override_is_told(shell, override, hint):
  assert hint in told(shell("train", f"--config.{override}"))


@pytest.mark.parametrize(("override", "hint"), PARTS)
def test_parts_that_do_not_fit_are_told_before_training(shell, override, hint):
  arguments = ["--config.scale.devices=1", f"--config.{override}"]
  assert hint in told(shell("train", "--workdir=run", *arguments))


def test_a_batch_that_does_not_divide_is_calculated(
  shell,
):
  lines = told(shell("train", "--config.data.batch_size=12"))
  assert "12 / 8 = 1.5" in lines


@pytest.mark.parametrize(("text", "hint"), FILES.items())
def test_a_wrong_config_file_is_told(shell, tmp_path, text, hint):
  (tmp_path / "mine.py").write_text(text)
  assert hint in told(shell("train", "--config=mine.py"))


@pytest.mark.parametrize(
  ("path", "hint"),
  [
    ("mime.py", "'mine.py'"),
    ("", "got ''"),
    ("nowhere/digits_cmn.py", "'digits_cnn.py'"),
    ("mine.py:large", "'large'"),
  ],
)
def test_a_config_that_is_not_there_is_told(shell, tmp_path, path, hint):
  (tmp_path / "mine.py").write_text("def get_config(): pass")
  assert hint in told(shell("train", f"--config={path}"))


def test_a_script_without_a_config_refuses_one(shell):
  told(shell("evaluate", "--config=x.py"))
  told(shell("report", "--config.seed=3", "run"))


@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "report"])
def test_help_lists_what_the_script_takes(shell, script):
  answer = shell(script, "--help")
  assert answer.code == 0
  assert f"{script}.py" in answer.out
  assert script == "report" or "--workdir=" in answer.out


def test_a_flag_is_answered_before_jax_is_imported():
  code = (
    "import sys\n"
    "from dlcore import command\n"
    "code = command.call(print, ['x', '--nope'])\n"
    "sys.exit(code + 10 * ('jax' in sys.modules))"
  )
  result = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert result.returncode == 1


def failing(error):
  def main():
    raise error

  return main


def test_a_bug_keeps_its_traceback(shell):
  with pytest.raises(ZeroDivisionError):
    shell("report", main=failing(ZeroDivisionError()))


def test_a_full_disk_is_no_bug(shell):
  error = OSError(errno.ENOSPC, "No space left on device", "run/x")
  assert "disk" in told(shell("report", main=failing(error)))


def test_a_failure_after_a_mistake_does_not_hide_it(shell):
  def main():
    try:
      raise UserError("expected one", "got\ntwo")
    finally:
      raise ValueError

  assert told(shell("report", main=main)) == "error: expected one\n  got two"


def test_an_interruption_is_one_line(shell):
  answer = shell("report", main=failing(KeyboardInterrupt()))
  assert (answer.code, answer.err) == (130, ["interrupted"])


def test_notes_are_plain_lines_on_standard_error(shell):
  import logging

  def main():
    logging.getLogger("dlcore").info("preparing\nmnist")
    logging.getLogger("dlcore").warning("two are skipped")
    logging.getLogger().warning("of no interest")

  answer = shell("report", main=main)
  assert answer.err == ["preparing mnist", "warning: two are skipped"]
