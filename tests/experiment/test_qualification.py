"""Messages of functions get the paths of the settings in the config."""

import pytest

from dlcore.errors import UserError
from dlcore.experiment.qualification import qualify


def lines(*message, settings=("eps", "l1"), **renamed):
  with (
    pytest.raises(UserError) as error,
    qualify("optim", settings, **renamed),
  ):
    raise UserError(*message)
  return error.value.lines


def test_arguments_of_the_section_get_its_path():
  assert lines("expected eps >= 0", "got eps=-1", "set l1 or eps") == (
    "expected optim.eps >= 0",
    "got optim.eps=-1",
    "set optim.l1 or eps",
  )
  assert lines("expected f > 0", "got 0", f="factor")[0] == (
    "expected optim.factor > 0"
  )


def test_other_words_stay_as_they_are():
  message = ("expected the epsilon eps", "got steps=3 and x.l1=2")
  assert lines(*message) == message
  assert lines(*message, settings=()) == message
