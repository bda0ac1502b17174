"""Headless Chromium for tests of pages, driven over its debugging pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
  "--remote-debugging-pipe",
  "about:blank",
)
SECONDS = 60.0
"""After which a browser that does not answer is an error."""

# Chromium reads commands from file descriptor 3 and answers on 4.
LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
  """A tab of headless Chromium; skips the test if it is not installed."""
  if executable() is None:
    pytest.skip("Chromium is not installed: apt-get install chromium")
  tab = Browser(tmp_path_factory.mktemp("profile"))
  yield tab
  tab.close()


def executable():
  """Returns the path of Chromium, or None."""
  return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
  """A tab of a browser; every console message and error is collected."""

  def __init__(self, profile):
    """Starts the browser with a new profile in the folder `profile`."""
    read_end, self._commands = os.pipe()
    self._answers, write_end = os.pipe()
    pipes = [os.dup(end) for end in (read_end, write_end)]
    while min(pipes) < 5:  # 3 and 4 are replaced in the child.
      pipes.append(os.dup(pipes.pop(0)))
    command = [executable(), f"--user-data-dir={profile}", *ARGUMENTS]
    self._process = subprocess.Popen(
      [sys.executable, "-c", LAUNCH, *map(str, pipes), *command],
      pass_fds=pipes,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    for end in (read_end, write_end, *pipes):
      os.close(end)
    self._buffer, self._count, self._session = b"", 0, None
    self.messages, self._loaded = [], False
    target = self.call("Target.createTarget", url="about:blank")
    self._session = self.call(
      "Target.attachToTarget", targetId=target["targetId"], flatten=True
    )["sessionId"]
    for domain in ("Page", "Runtime", "Log"):
      self.call(f"{domain}.enable")

  def close(self):
    """Ends the browser."""
    try:
      self._session = None
      self.call("Browser.close")
      self._process.wait(SECONDS)
    except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired):
      self._process.kill()
      self._process.wait()
    for end in (self._commands, self._answers):
      os.close(end)

  def open(self, path, *, width=1280, dark=False):
    """Opens an HTML file; `messages` holds what its console shows."""
    self.call(
      "Emulation.setDeviceMetricsOverride",
      width=width,
      height=900,
      deviceScaleFactor=1,
      mobile=False,
    )
    scheme = {
      "name": "prefers-color-scheme",
      "value": "dark" if dark else "light",
    }
    self.call("Emulation.setEmulatedMedia", features=[scheme])
    self.messages, self._loaded = [], False
    self.call("Page.navigate", url=path.resolve().as_uri())
    while not self._loaded:
      self._receive()

  def evaluate(self, expression):
    """Returns the JSON value of a JavaScript expression in the page."""
    answer = self.call(
      "Runtime.evaluate",
      expression=expression,
      returnByValue=True,
      awaitPromise=True,
    )
    if "exceptionDetails" in answer:
      raise RuntimeError(answer["exceptionDetails"])
    return answer["result"].get("value")

  def screenshot(self, path):
    """Writes a picture of the whole page as PNG."""
    picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
    path.write_bytes(base64.b64decode(picture["data"]))

  def call(self, method, **params):
    """Returns the result of a command of the DevTools protocol."""
    self._count += 1
    number = self._count
    command = {"id": number, "method": method, "params": params}
    if self._session:
      command["sessionId"] = self._session
    os.write(self._commands, json.dumps(command).encode() + b"\0")
    while True:
      message = self._receive()
      if message.get("id") == number:
        if "error" in message:
          raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

  def _receive(self):
    """Returns the next message, and collects those of the console."""
    deadline = time.monotonic() + SECONDS
    while b"\0" not in self._buffer:
      left = max(0.0, deadline - time.monotonic())
      if not select.select([self._answers], [], [], left)[0]:
        raise TimeoutError("the browser does not answer")
      content = os.read(self._answers, 1 << 16)
      if not content:
        raise EOFError("the browser has ended")
      self._buffer += content
    text, _, self._buffer = self._buffer.partition(b"\0")
    message = json.loads(text)
    method, params = message.get("method"), message.get("params")
    if method == "Page.loadEventFired":
      self._loaded = True
    elif method == "Log.entryAdded":
      self.messages.append(params["entry"]["text"])
    elif method == "Runtime.consoleAPICalled":
      self.messages.append(str(params["args"]))
    elif method == "Runtime.exceptionThrown":
      self.messages.append(str(params["exceptionDetails"]))
    elif method == "Page.javascriptDialogOpening":
      self.messages.append(f"dialog: {params['message']}")
    return message
