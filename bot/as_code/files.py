"""Files that contents name (``{file: poster.png}``): read beside the YAML file and checked for kind and size."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

KINDS = ("image", "voice", "video", "thumb")
# the cover of a mini program's card and of an article is a picture
KEYS = {**{kind: kind for kind in KINDS}, "cover": "image"}
MEGABYTE = 1024 * 1024
# Source: docs/wechat-limits.md 8, permanent material (read 2026-11). One line of the platform's page
# says 10 MB for an image and another 2 MB: unsure, so the stricter holds.
BYTES = {"image": 2 * MEGABYTE, "voice": 2 * MEGABYTE, "video": 10 * MEGABYTE, "thumb": 64 * 1024}


@dataclass(frozen=True, slots=True, repr=False)
class File:
    kind: str
    name: str  # as the account file writes it
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


Reader = Callable[[str, str], "File | str"]


def named(value: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """(kind, file name, place) of every file inside a rule, a fallback or a content."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            here = f"{place}.{key}"
            if key in KEYS and isinstance(item, Mapping) and isinstance(item.get("file"), str):
                yield KEYS[key], item["file"], f"{here}.file"
            yield from named(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from named(item, f"{place}.{index}")


def beside(folder: Path) -> Reader:
    """Reads files relative to ``folder``. A reader returns the file, or a sentence about what is wrong."""
    root = folder.resolve()

    def read(kind: str, name: str) -> File | str:
        if PurePosixPath(name).is_absolute() or "\\" in name or "\x00" in name:
            return "must be a path relative to the account file, with /"
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            return "must lie in the account file's folder or below it"
        try:
            if not path.is_file():
                return f"there is no file {name} beside the account file"
            size = path.stat().st_size
            if size > BYTES[kind]:
                return f"has {size:,} bytes, {BYTES[kind]:,} are allowed for {kind}"
            data = path.read_bytes()
        except OSError as problem:
            return f"cannot be read ({problem.strerror})"
        wrong = problem_of(kind, data)
        return wrong or File(kind, name, data)

    return read


def problem_of(kind: str, data: bytes) -> str | None:
    """What is wrong with a file's bytes for this kind of material, by its first bytes, not its name."""
    if not data:
        return "is empty"
    if len(data) > BYTES[kind]:
        return f"has {len(data):,} bytes, {BYTES[kind]:,} are allowed for {kind}"
    found = _format(data)
    allowed = {
        "image": ("png", "jpg", "gif", "bmp"),
        "voice": ("mp3", "amr", "wma", "wav"),
        "video": ("mp4",),
        "thumb": ("jpg",),
    }[kind]
    if found not in allowed:
        return f"is not a {kind} the platform takes ({', '.join(allowed)})"
    return None


def _format(data: bytes) -> str | None:
    signatures = (
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpg"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"BM", "bmp"),
        (b"#!AMR", "amr"),
        (b"ID3", "mp3"),
        (b"\xff\xfb", "mp3"),
        (b"\xff\xf3", "mp3"),
        (b"\xff\xf2", "mp3"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma"),
    )
    for start, name in signatures:
        if data.startswith(start):
            return name
    if data[4:8] == b"ftyp":
        return "mp4"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    return None
