"""A real Chromium that opens a page; tests are skipped where there is none."""

import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import axe_core_python
from missing_part import missing

NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
PROBE = """
<script>
const said = [];
addEventListener("error", (event) => said.push("error: " + event.message));
addEventListener("securitypolicyviolation", (event) => said.push("blocked: " + event.blockedURI));
const tell = (name, value) => parent.postMessage([name, JSON.stringify(value)], "*");
addEventListener("load", async () => {
  try { PROBED } catch (error) { said.push("error: " + error.message); }
  tell("said", said);
  tell("requests", performance.getEntriesByType("resource").map((entry) => entry.name));
});
</script>
"""
FRAME = """<!doctype html>
<script>
addEventListener("message", ({data: [name, value]}) => {
  const part = document.createElement("pre");
  part.id = name;
  part.textContent = value;
  document.body.append(part);
});
</script>
<body><iframe src="probed.html" style="border: 0; width: WIDTHpx; height: 900px"></iframe></body>
"""


def command(*arguments: str) -> list[str]:
    """Chromium without a window; asks for nothing of its own."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        missing("Chromium is not installed: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    quiet = ["--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    return ["nice", "-n", "19", found, *quiet, *sandbox, *arguments]


def opened(page: Path, script: str, width: int = 1440, *more: str) -> dict[str, str]:
    """What a script, run in the page once it is there, told by `tell(name, value)`: JSON by name.

    Told as well: `said` (errors, and requests that the page's policy blocked) and `requests`. The
    page is in a frame of that width, as no window of Chromium is narrower than 500 px.
    """
    probe = PROBE.replace("PROBED", script)
    if "axe.run" in script:
        probe = f"<script>{AXE.read_text('utf-8')}</script>{probe}"
    text = page.read_text("utf-8").replace("<head>", f"<head>{probe}", 1)
    page.with_name("probed.html").write_text(text, "utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("WIDTH", str(width)), "utf-8")
    arguments = (
        "--window-size=1600,1000",
        f"--user-data-dir={page.with_name('chromium')}",
        "--virtual-time-budget=60000",
        "--dump-dom",
    )
    done = subprocess.run(
        command(*arguments, *more, frame.as_uri()),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = re.findall(r'<pre id="(\w+)">(.*?)</pre>', done.stdout, re.DOTALL)
    return {name: unescape(value) for name, value in told}
