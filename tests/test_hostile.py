"""The campaign of hostile inputs."""

import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("hostile_cases.py")


@pytest.mark.slow
def test_the_cases_have_their_outcomes():
  """In a process of its own: forks begin with the memory of their parent."""
  options = ("-n", "0", "-m", "slow or not slow", "-p", "no:cacheprovider")
  result = subprocess.run(
    [sys.executable, "-m", "pytest", *options, str(CASES)],
    cwd=CASES.parent.parent,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stdout[-3000:]
