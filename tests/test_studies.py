"""The studies that show how to use the parts work as they claim."""

import gan
import minimal_loop
import own_parts
import pytest

from dlcore import storage


def test_the_minimal_loop_learns_and_saves_in_sixty_lines(tmp_path):
  values = minimal_loop.main(tmp_path, steps=300)
  assert values["accuracy"] > 0.85
  tree = storage.read_checkpoint(tmp_path, 300)
  assert tree["state"]["step"] == 300
  with open(minimal_loop.__file__) as file:
    assert sum(bool(line.strip()) for line in file) <= 60


@pytest.mark.slow
def test_a_gan_of_two_tasks_approaches_the_data(tmp_path):
  before, after = gan.main(steps=1000)
  assert after < before / 2


def test_parts_of_ones_own_learn():
  before, after = own_parts.main(steps=200)
  assert after < before / 2
