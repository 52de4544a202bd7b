"""QR codes as files: what a picture carries, and names that are safe everywhere."""

import io
import zipfile
from datetime import datetime
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from PIL import Image

from bot import db, media, scene_files, scene_lists, scenes
from bot.accounts import Account
from bot.errors import Invalid, Refused
from bot.scenes import Scene
from tests.bot.stage import Stage

URL = "http://weixin.qq.com/q/02abcDEFghiJKLmnopq"


def code(
    key: str = "store_01", name: str = "人民广场店", group: str = "", url: str | None = URL
) -> Scene:
    return Scene(1, key, name, group, True, None, (), "t", url, None, None, None)


def logo() -> scene_files.Logo:
    file = io.BytesIO()
    Image.new("RGBA", (200, 100), (200, 30, 60, 255)).save(file, "PNG")
    return scene_files.check_logo(file.getvalue())


def test_a_picture_carries_the_name_and_the_logo() -> None:
    plain = Image.open(io.BytesIO(scene_files.picture(code(), "png")))
    assert plain.height > plain.width, "the name stands below"
    below = plain.convert("L").crop((0, plain.width, plain.width, plain.height))
    assert below.getextrema()[0] < 100
    marked = Image.open(io.BytesIO(scene_files.picture(code(), "png", logo()))).convert("RGB")
    assert marked.getpixel((marked.width // 2, marked.width // 2)) == (200, 30, 60)
    drawn = ElementTree.fromstring(scene_files.picture(code(name="A&B <店>"), "svg", logo()))
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["A&B <店>"]
    (image,) = drawn.iter("{http://www.w3.org/2000/svg}image")
    assert image.get("href", "").startswith("data:image/png;base64,")


def test_without_a_chinese_font_the_key_stands_below(monkeypatch: pytest.MonkeyPatch) -> None:
    # no machine for tests has no fonts
    monkeypatch.setattr(scene_files, "font_path", lambda: None)
    by_name = scene_files.picture(code(name="store_01"), "png")
    assert scene_files.picture(code(name="人民广场店"), "png") == by_name


def test_a_code_that_was_not_made_has_no_picture() -> None:
    with pytest.raises(Refused, match="还没有"):
        scene_files.picture(code(url=None), "png")
    with pytest.raises(Invalid):
        scene_files.picture(code(), "gif")


def test_names_in_a_zip_are_safe_and_unique() -> None:
    given = [
        code("a", "../../etc/passwd", ".."),
        code("b", "店/一:二", "C:\\windows"),
        code("c", "x\u202egnp.exe"),
        code("D", "同名"),
        code("d", "同名"),
        code("e", "长" * 60, "con"),
        code("f", "..."),
    ]
    names = scene_files.file_names(given)
    assert names == [
        "_/_.._etc_passwd_a",
        "C__windows/店_一_二_b",
        "x_gnp.exe_c",
        "同名_D",
        "同名_d_2",
        f"_con/{'长' * 60}_e",
        "__f",
    ]
    packed = zipfile.ZipFile(
        io.BytesIO(b"".join(scene_files.archive(given, ["svg", "gif"], None, {"表.csv": b"x"})))
    )
    assert packed.testzip() is None
    assert packed.namelist() == ["表.csv", *(f"{name}.svg" for name in names)]


def test_a_zip_comes_piece_by_piece() -> None:
    pieces = list(scene_files.archive([code(f"k{n}") for n in range(3)], ["png"], None, {}))
    assert len(pieces) == 4
    assert all(len(piece) < 20_000 for piece in pieces)


def test_a_logo_is_never_told_to_the_platform(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    stage = Stage(now)
    with db.writing(engine) as session:
        scene_files.save_logo(session, account.id, logo().data)
        scene_files.save_logo(session, account.id, logo().data)
        found = scene_files.logo_of(session, account.id)
    assert found == logo()
    assert media.upload_pending(engine, lambda _id: stage.wechat, now) == 0
    assert stage.calls == []


def test_keys_go_on_after_the_largest_number_of_their_prefix(
    engine: sa.Engine, account: Account, now: datetime
) -> None:
    with db.writing(engine) as session:
        scenes.save(session, account.id, key="store_07", name="七")
        rows = scene_lists.read_text("名称\n八\n九\n,\n")
        found = scene_lists.check(session, account.id, rows, prefix="store_")
    assert [one.key for one in found.new] == ["store_08", "store_09"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("甲\n\n乙", [(1, {"name": "甲"}), (3, {"name": "乙"})]),
        (
            "甲\tk1\t门店\t新客、老客",
            [(1, {"name": "甲", "key": "k1", "group": "门店", "tags": "新客、老客"})],
        ),
        ("Key,Name,无关\nk,甲,x", [(2, {"key": "k", "name": "甲"})]),
        (
            '名称,回复\n甲,"第一行\n第二行"\n乙,',
            [(2, {"name": "甲", "reply": "第一行\n第二行"}), (4, {"name": "乙"})],
        ),
    ],
)
def test_a_list_is_read_as_people_write_it(
    text: str, rows: list[tuple[int, dict[str, str]]]
) -> None:
    assert [(row.line, dict(row.values)) for row in scene_lists.read_text(text)] == rows
