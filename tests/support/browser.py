"""A headless Chromium driven over its debugging pipe (Chrome DevTools Protocol) by the standard library alone."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tfod_csf.cytology.report import chromium


class Browser:
    """One page at a time, that of the tab `session`.

    `console`, `requests`, `blocked`: what it said, asked for and did not get since `open`.
    """

    def __init__(self, to_browser: int, from_browser: int):
        self._to, self._from = to_browser, from_browser
        self._buffer, self._number, self.session = b"", 0, None
        self.console: list[str] = []
        self.requests: list[str] = []
        self.blocked: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict:
        """One command; events that arrive meanwhile are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer.get("result", {})

    def _read(self) -> dict:
        while b"\0" not in self._buffer:
            block = os.read(self._from, 1 << 20)
            if not block:
                raise RuntimeError("Chromium ended")
            self._buffer += block
        line, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(line)
        event, parameters = message.get("method", ""), message.get("params", {})
        if event == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
        elif event == "Runtime.exceptionThrown":
            self.console.append(str(parameters["exceptionDetails"]))
        elif event == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event == "Network.loadingFailed":
            self.blocked.append(parameters.get("blockedReason", ""))
        return message

    def attach(self) -> str:
        """Makes a tab, listens to it, and returns its session for `use`."""
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self.session

    def use(self, session: str) -> None:
        """Continues in another tab, which comes to the front."""
        self.session = session
        self.call("Page.bringToFront")

    def open(self, path: pathlib.Path, width: int = 1200, height: int = 900) -> None:
        """Loads a file and waits until all of it is there."""
        self.open_address(path.resolve().as_uri(), width, height)

    def open_address(self, address: str, width: int = 1200, height: int = 900) -> None:
        """As `open`, of any address; one on a server only of 127.0.0.1 (`running(with_server=True)`)."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self._navigate("about:blank")  # what the page of before still says is not of this one
        self.console.clear()
        self.requests.clear()
        self.blocked.clear()
        self._navigate(address)

    def _navigate(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        ready = "document.readyState === 'complete' && [...document.images].every((image) => image.complete)"
        deadline = time.monotonic() + 60
        while not (self.evaluate("location.href.split('#')[0]") == address and self.evaluate(ready)):
            if time.monotonic() > deadline:
                raise TimeoutError(address)
            time.sleep(0.05)

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def press(self, key: str, repeats: int = 0) -> None:
        """A key, with what it does by itself (Tab, Enter); held down, so that it comes again so many times."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 46)  # letters, digits, Space; Delete
        same = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for number in range(1 + repeats):
            is_again = {"autoRepeat": number > 0}
            self.call("Input.dispatchKeyEvent", type="keyDown", **same, **is_again, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The left button, pressed at one place of the window and released at another (x, y)."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        steps = (("mousePressed", start), ("mouseMoved", middle), ("mouseMoved", end), ("mouseReleased", end))
        for kind, (x, y) in steps:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def wait(self, script: str, seconds: float = 60) -> None:
        """Waits until a JavaScript expression in the page is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(script):
            if time.monotonic() > deadline:
                raise TimeoutError(script)
            time.sleep(0.02)

    def screenshot(self, path: pathlib.Path, full_page: bool = True) -> pathlib.Path:
        """PNG of the whole page, or of what is in view."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full_page)["data"]
        path.write_bytes(base64.b64decode(data))
        return path


@contextlib.contextmanager
def running(with_server: bool = False) -> Iterator[Browser]:
    """A browser with an empty profile, ended with the block; the test is skipped where none is installed.

    Args:
      with_server: whether it may reach 127.0.0.1.
    """
    try:
        program = chromium.find_chromium()
    except chromium.ChromiumError:
        pytest.skip("Chromium is not installed")
    reachable = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"] if with_server else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()

        def on_3_and_4() -> None:
            os.dup2(os.dup(to_read), 3)
            os.dup2(os.dup(from_write), 4)

        process = subprocess.Popen(
            [*chromium.command(program, profile), "--remote-debugging-pipe", "--hide-scrollbars", *reachable],
            preexec_fn=on_3_and_4,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        browser = Browser(to_write, from_read)
        try:
            browser.attach()
            yield browser
        finally:
            process.terminate()
            process.wait(timeout=30)
            os.close(to_write)
            os.close(from_read)
