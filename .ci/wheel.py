"""Builds the wheel and uses it as a stranger would: an empty environment, another folder, no setting.

The wheel must hold every file of the packages (templates, styles, migrations, the demo brand), the commands
must work, and `qunfen run --sandbox` must serve a page with its style sheet and stop cleanly.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("bot", "handlers", "rules", "migrations", "wsgi.py")
START_SECONDS = 90
STOP_SECONDS = 30


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="qunfen-wheel-") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        pip = [str(folder / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check"]
        call(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", name, str(ROOT), cwd=ROOT)
        (wheel,) = folder.glob("*.whl")
        missing = files() - set(zipfile.ZipFile(wheel).namelist())
        if missing:
            sys.exit(f"not in {wheel.name}: {', '.join(sorted(missing))}")
        constraints = str(ROOT / "constraints.txt")
        call(*pip, "install", "--quiet", "--constraint", constraints, str(wheel), cwd=folder)
        use(folder)
    print(f"{wheel.name}: every file is there, the commands work, the console answers")


def files() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", *SHIPPED], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.splitlines())


def use(folder: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    qunfen = str(folder / "venv/bin/qunfen")
    call(qunfen, "--help", cwd=folder, env=environ)
    call(qunfen, "db", "upgrade", cwd=folder, env=environ)
    python = str(folder / "venv/bin/python")
    call(python, "-c", "import wsgi; wsgi.application", cwd=folder, env=environ)
    port, sandbox_port = free_ports(2)
    ports = ["--port", str(port), "--sandbox-port", str(sandbox_port)]
    with (folder / "log").open("w+", encoding="utf-8") as log:
        product = subprocess.Popen(
            [qunfen, "run", "--sandbox", *ports], cwd=folder, env=environ, stdout=log, stderr=log
        )
        try:
            base = f"http://127.0.0.1:{port}"
            page = wait_for(f"{base}/console/login", product)
            style = re.search(r'href="(/[^"]+\.css[^"]*)"', page)
            if style is None or not get(base + style[1]):
                raise RuntimeError("the console has no style sheet")
            product.send_signal(signal.SIGTERM)
            if product.wait(STOP_SECONDS) != 0:
                raise RuntimeError(f"it ended with {product.returncode}")
        except Exception as problem:
            product.kill()
            log.seek(0)
            sys.exit(f"{log.read()}\n{problem}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def wait_for(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return get(url)
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def call(*command: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
