"""A real Chromium for the tests of the report, driven over the DevTools protocol; no driver program, no network.

Used by tests/test_report_browser.py. What went wrong in a page (uncaught errors, messages of the console, requests)
is kept, so that a test can say that nothing did.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
WAIT = 20.0  # seconds for an answer; a slow machine needs a few


def program() -> str | None:
    """The Chromium or Chrome of this machine, None where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


class Page:
    """One tab. `calls` DevTools methods, `runs` JavaScript, and keeps problems and the addresses it asked for."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.last = socket, 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """The answer to a DevTools method; raises RuntimeError with the browser's words where it refuses."""
        self.last += 1
        self.socket.send(json.dumps({"id": self.last, "method": method, "params": given}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        what, given = message.get("method"), message.get("params", {})
        if what == "Runtime.exceptionThrown":
            self.problems.append(str(given["exceptionDetails"]))
        elif what == "Runtime.consoleAPICalled":
            self.problems.append(f"console.{given['type']}: {given['args']}")
        elif what == "Log.entryAdded":
            self.problems.append(str(given["entry"]))
        elif what == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, of a promise its result; raises RuntimeError where it throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Go there (from an empty page, so that an address which differs in its hash alone is loaded anew too)."""
        for url in ("about:blank", address):
            self.call("Page.navigate", url=url)
            self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def until(self, script: str) -> None:
        """Wait until the expression is true; raises TimeoutError after WAIT seconds."""
        end = time.monotonic() + WAIT
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"never true in {WAIT:g} s: {script}")
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait for two drawn frames, after which events and resize observers have run."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press and let go a key on what has the focus: name as in KeyboardEvent.key, code its Windows number."""
        typed = {"text": text} if text else {}
        common = {"key": name, "code": name if len(name) > 1 else "", "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **typed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def mouse(self, selector: str, click: bool = True) -> None:
        """Move the mouse to the middle of the first element that matches, and click there."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{found}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.settle()  # the browser finds what lies under the mouse by the last frame
        where = self.run(
            f"(() => {{const r = {found}.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]}})()"
        )
        at = {"x": where[0], "y": where[1]}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def choose(self, selector: str, value: str) -> None:
        """Take the option of this value in a <select>, as a user's choice does."""
        self.run(
            f"(() => {{const s = document.querySelector({json.dumps(selector)});"
            f"const i = [...s.options].findIndex(o => o.value === {json.dumps(value)});"
            "if (i < 0) throw new Error('no such option among ' + [...s.options].map(o => o.value));"
            "s.selectedIndex = i; s.dispatchEvent(new Event('change', {bubbles: true}))})()"
        )

    def write(self, selector: str, text: str) -> None:
        """Replace what stands in an <input>, by typing."""
        self.run(
            f"(() => {{const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select();"
            "if (!e.value) return; e.value = ''; e.dispatchEvent(new Event('input', {bubbles: true}))})()"
        )
        if text:
            self.call("Input.insertText", text=text)

    def size(self, width: int, height: int = 900) -> None:
        """The window in CSS px."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.settle()

    def media(self, kind: str = "", scheme: str = "light") -> None:
        """Emulate 'print' or 'screen', and the colour scheme that the system asks for."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)
        self.settle()

    def shot(self, path: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self) -> bytes:
        """The page as it prints, A4."""
        answer = self.call("Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(answer["data"])


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A started browser with one tab; its profile lies in `folder`, which must be empty. Ended with the block."""
    import websocket

    name = program()
    if name is None:
        raise RuntimeError("no Chromium on this machine")
    command = [name, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(folder / "DevToolsActivePort", process)
        socket = websocket.create_connection(f"ws://127.0.0.1:{port[0]}{port[1]}", timeout=WAIT)
        try:
            yield Page(_tab(socket, port[0]))
        finally:
            socket.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(note: Path, process: Any) -> tuple[str, str]:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended at once, with status {process.returncode}")
        lines = note.read_text().split() if note.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(0.05)
    raise TimeoutError(f"Chromium said no port in {WAIT:g} s")


def _tab(socket: Any, port: str) -> Any:
    """A socket to the first tab, whose number the browser's own socket knows."""
    import websocket

    socket.send(json.dumps({"id": 0, "method": "Target.getTargets"}))
    message: dict[str, Any] = {}
    while message.get("id") != 0:
        message = json.loads(socket.recv())
    tab = next(t for t in message["result"]["targetInfos"] if t["type"] == "page")
    return websocket.create_connection(f"ws://127.0.0.1:{port}/devtools/page/{tab['targetId']}", timeout=WAIT)
