"""QR channels as files to print: one picture with name and logo, or a ZIP of many.

An SVG is written by hand, a PNG is drawn with Pillow. Both carry the account's logo in the middle
where one was uploaded; the code is then made with the highest error correction.
"""

import base64
import hashlib
import io
import math
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import segno
import sqlalchemy as sa
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from bot.db import Session
from bot.errors import Invalid, Refused
from bot.media import LOGO
from bot.scenes import PIXELS, Scene
from bot.tables.accounts import media

FORMS = ("png", "svg")
LOGO_BYTES = 512 * 1024
LOGO_PIXELS = 2000  # a side
LOGO_SHARE = 0.22  # of the code's width: 5 % of its area, where level H mends 30 %
BORDER = 4  # modules that must stay white around a code
NAME_MODULES = 6  # height of the line with the name
LONGEST_FILE_NAME = 60  # characters
# fonts with Chinese letters where systems keep them; without one the key stands below a PNG
FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/wqy-microhei/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/STHeiti Light.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "C:/Windows/Fonts/simhei.ttf",
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\u2028\u2029\u202a-\u202e\u2066-\u2069]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


@dataclass(frozen=True, slots=True, repr=False)
class Logo:
    """A picture that was checked: ``type`` is image/png or image/jpeg."""

    type: str
    data: bytes


def check_logo(data: bytes) -> Logo:
    """A PNG or JPEG by its content, small enough to be drawn.

    Raises:
        Invalid: anything else.
    """
    if len(data) > LOGO_BYTES:
        raise Invalid("logo", "the picture is larger than 512 KB")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            width, height, kind = *picture.size, picture.format
            if max(width, height) > LOGO_PIXELS or min(width, height) < 16:
                raise Invalid("logo", f"must have 16 to {LOGO_PIXELS} pixels a side")
            picture.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise Invalid("logo", "must be a PNG or JPEG picture") from None
    return Logo("image/png" if kind == "PNG" else "image/jpeg", data)


def save_logo(session: Session, account_id: int, data: bytes) -> None:
    """Keep a checked picture as the account's one logo.

    Raises:
        Invalid: it is no PNG or JPEG, or too large.
    """
    logo = check_logo(data)
    remove_logo(session, account_id)
    session.execute(
        sa.insert(media).values(
            account_id=account_id,
            kind=LOGO,
            name=f"logo.{logo.type.removeprefix('image/')}",
            sha256=hashlib.sha256(data).hexdigest(),
            data=data,
        )
    )


def remove_logo(session: Session, account_id: int) -> None:
    """Codes are drawn without a logo from now on."""
    session.execute(sa.delete(media).where(media.c.account_id == account_id, media.c.kind == LOGO))


def logo_of(session: Session, account_id: int) -> Logo | None:
    """The account's logo, if one was uploaded."""
    row = session.execute(
        sa.select(media.c.name, media.c.data)
        .where(media.c.account_id == account_id, media.c.kind == LOGO)
        .order_by(media.c.id.desc())
        .limit(1)
    ).one_or_none()
    return Logo(f"image/{row.name.rpartition('.')[2]}", bytes(row.data)) if row else None


def picture(scene: Scene, form: str, logo: Logo | None = None) -> bytes:
    """One code as a PNG or SVG file with the channel's name below.

    Raises:
        Refused: the code was not made yet.
        Invalid: another form.
    """
    if form not in FORMS:
        raise Invalid("form", "must be png or svg")
    if scene.url is None:
        raise Refused(f"二维码「{scene.key}」还没有在平台上生成")
    # without a logo M: a sixth of the code may be smudged, as printed codes are
    code = segno.make(scene.url, error="h" if logo else "m", micro=False, boost_error=False)
    rows = [bytes(row) for row in code.matrix]
    return _svg(scene, rows, logo) if form == "svg" else _png(scene, rows, logo)


def file_names(scenes: Sequence[Scene]) -> list[str]:
    """A name without ending for each code, group as folder: safe on every system and unique.

    Two that differ only by case would overwrite each other on some systems: the later gets a number.
    """
    names, taken = [], set()
    for scene in scenes:
        folder = f"{safe_name(scene.group)}/" if scene.group.strip() else ""
        base = f"{folder}{safe_name(scene.name)}_{safe_name(scene.key)}"
        name, number = base, 2
        while name.casefold() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def safe_name(text: str) -> str:
    """A text as part of a file name: no separators, no devices, no tricks with direction, not too long."""
    plain = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text)).strip(" .")
    plain = plain[:LONGEST_FILE_NAME].strip(" .") or "_"
    return f"_{plain}" if _DEVICES.match(plain) else plain


def archive(
    scenes: Sequence[Scene],
    forms: Iterable[str],
    logo: Logo | None,
    more: Mapping[str, bytes],
) -> Iterator[bytes]:
    """A ZIP with the pictures of all codes that were made and the files ``more``, piece by piece.

    Only one picture is in memory at a time.
    """
    wanted = [form for form in FORMS if form in forms]
    out = _Pieces()
    made = [scene for scene in scenes if scene.url is not None]
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in more.items():
            packed.writestr(_entry(name), data, zipfile.ZIP_DEFLATED)
        for scene, name in zip(made, file_names(made), strict=True):
            for form in wanted:
                way = zipfile.ZIP_STORED if form == "png" else zipfile.ZIP_DEFLATED
                packed.writestr(_entry(f"{name}.{form}"), picture(scene, form, logo), way)
                yield out.take()
    yield out.take()


class _Pieces(io.RawIOBase):
    """A file that is only written to: what came since the last ``take``."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._kept += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._kept)
        self._kept.clear()
        return taken


def _entry(name: str) -> zipfile.ZipInfo:
    # the same codes make the same file, whenever it is made
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _svg(scene: Scene, rows: Sequence[bytes], logo: Logo | None) -> bytes:
    size = len(rows) + 2 * BORDER
    height = size + NAME_MODULES
    dots = "".join(
        f"M{x + BORDER} {y + BORDER}h1v1h-1z"
        for y, row in enumerate(rows)
        for x, dark in enumerate(row)
        if dark
    )
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size * 10}" height="{height * 10}"'
        f' viewBox="0 0 {size} {height}">',
        f'<rect width="{size}" height="{height}" fill="#fff"/>',
        f'<path d="{dots}" fill="#000" shape-rendering="crispEdges"/>',
    ]
    if logo is not None:
        side = len(rows) * LOGO_SHARE
        at = (size - side) / 2
        data = base64.b64encode(logo.data).decode()
        parts += [
            f'<rect x="{at - 0.5:.2f}" y="{at - 0.5:.2f}" width="{side + 1:.2f}" height="{side + 1:.2f}"'
            ' rx="1" fill="#fff"/>',
            f'<image x="{at:.2f}" y="{at:.2f}" width="{side:.2f}" height="{side:.2f}"'
            f' href="data:{logo.type};base64,{data}"/>',
        ]
    shown = _printable(scene.name)
    letter = min(3.0, (size - 2) / max(_width(shown), 1))
    parts += [
        f'<text x="{size / 2}" y="{size + 1}" font-size="{letter:.2f}" text-anchor="middle"'
        ' font-family="Noto Sans CJK SC, PingFang SC, Microsoft YaHei, sans-serif" fill="#000">'
        f"{escape(shown)}</text>",
        "</svg>",
    ]
    return "\n".join(parts).encode()


def _png(scene: Scene, rows: Sequence[bytes], logo: Logo | None) -> bytes:
    size = (len(rows) + 2 * BORDER) * PIXELS
    small = Image.new("L", (len(rows), len(rows)))
    small.putdata([0 if dark else 255 for row in rows for dark in row])
    code = small.resize((len(rows) * PIXELS,) * 2, Image.Resampling.NEAREST)
    sheet = Image.new("L" if logo is None else "RGB", (size, size + NAME_MODULES * PIXELS), "white")
    sheet.paste(code, (BORDER * PIXELS,) * 2)
    draw = ImageDraw.Draw(sheet)
    if logo is not None:
        _stamp(sheet, draw, logo, round(len(rows) * PIXELS * LOGO_SHARE), size)
    shown = _printable(scene.name)
    path = font_path()
    if path is None and not shown.isascii():
        shown = scene.key
    pixels = min(3 * PIXELS, math.floor((size - 2 * PIXELS) / max(_width(shown), 1)))
    draw.text(
        (size / 2, size + PIXELS / 2), shown, fill="black", font=_font(path, pixels), anchor="mm"
    )
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=logo is None)
    return file.getvalue()


def _stamp(sheet: Any, draw: Any, logo: Logo, side: int, size: int) -> None:
    with Image.open(io.BytesIO(logo.data), formats=("PNG", "JPEG")) as found:
        stamp = found.convert("RGBA")
    stamp.thumbnail((side, side), Image.Resampling.LANCZOS)
    middle, half = size // 2, side // 2 + PIXELS // 2
    box = (middle - half, middle - half, middle + half, middle + half)
    draw.rounded_rectangle(box, radius=PIXELS, fill="white")
    sheet.paste(stamp, (middle - stamp.width // 2, middle - stamp.height // 2), stamp)


@cache
def font_path() -> str | None:
    """The first font with Chinese letters that this machine has."""
    return next((path for path in FONTS if Path(path).is_file()), None)


@cache
def _font(path: str | None, pixels: int) -> Any:
    if path is None:
        return ImageFont.load_default(max(pixels, 8))
    # a collection begins with Japanese; its third is simplified Chinese in Noto's
    index = 2 if "CJK" in path else 0
    return ImageFont.truetype(path, max(pixels, 8), index=index)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _width(text: str) -> float:
    """How wide a text is, in letters as high as wide."""
    wide = sum(unicodedata.east_asian_width(letter) in "WFA" for letter in text)
    return wide + (len(text) - wide) * 0.62
