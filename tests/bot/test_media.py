"""A file is uploaded once; until then content that needs it waits, and what the platform refuses says why."""

from typing import Any

import pytest
import sqlalchemy as sa

from bot import db, media
from bot.accounts import Account
from bot.errors import Refused
from bot.tables.accounts import media as table
from tests.bot.answers import NO_ANSWER, Gateway, refusal
from tests.factories import at

NOW = at("2025-03-03 09:00")
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64


def store(
    engine: sa.Engine, account_id: int, kind: str = "image", name: str = "a.png", **values: Any
) -> int:
    with db.writing(engine) as session:
        return int(
            session.execute(
                sa.insert(table)
                .values(
                    **{
                        "account_id": account_id,
                        "kind": kind,
                        "name": name,
                        "sha256": f"{kind}{name}{values.get('media_id')}",
                        "data": PNG,
                    }
                    | values
                )
                .returning(table.c.id)
            ).scalar_one()
        )


def resolve(engine: sa.Engine, account: Account, content: dict[str, Any]) -> dict[str, Any]:
    with db.reading(engine) as session:
        return media.resolve(session, account.id, content)


def test_content_without_files_stays_as_it_is(engine: sa.Engine, account: Account) -> None:
    for content in (
        {"text": "hi"},
        {"image": {"media_id": "M"}},
        {"music": {"thumb": {"media_id": "M"}}},
    ):
        assert resolve(engine, account, content) == content


def test_a_file_becomes_its_media_id(engine: sa.Engine, account: Account) -> None:
    store(engine, account.id, media_id="OLD")
    store(engine, account.id, media_id="NEW")
    store(engine, account.id, kind="thumb", name="t.jpg", media_id="THUMB")
    assert resolve(engine, account, {"image": {"file": "a.png"}}) == {"image": {"media_id": "NEW"}}
    assert resolve(engine, account, {"video": {"media_id": "V", "title": "t"}}) == {
        "video": {"media_id": "V", "title": "t"}
    }
    assert resolve(engine, account, {"music": {"title": "t", "thumb": {"file": "t.jpg"}}}) == {
        "music": {"title": "t", "thumb": {"media_id": "THUMB"}}
    }


def test_a_file_that_is_not_uploaded_is_worth_waiting_for_and_others_are_not(
    engine: sa.Engine, account: Account
) -> None:
    store(engine, account.id)
    with pytest.raises(media.NotYet):
        resolve(engine, account, {"image": {"file": "a.png"}})
    with pytest.raises(Refused, match="there is no image") as unknown:
        resolve(engine, account, {"image": {"file": "b.png"}})
    assert not isinstance(unknown.value, media.NotYet)
    store(engine, account.id, name="c.png", error="wrong format")
    with pytest.raises(Refused, match="wrong format"):
        resolve(engine, account, {"image": {"file": "c.png"}})


def test_another_accounts_file_is_not_ours(engine: sa.Engine, account: Account) -> None:
    store(engine, account.id, media_id="M")
    with db.reading(engine) as session, pytest.raises(Refused):
        media.resolve(session, account.id + 1, {"image": {"file": "a.png"}})


def test_uploading_stores_the_id_and_happens_once(engine: sa.Engine, account: Account) -> None:
    gateway = Gateway({"media_id": "M", "url": "http://mmbiz.qpic.cn/a"})
    store(engine, account.id)
    assert media.upload_pending(engine, gateway.of, NOW) == 1
    assert media.upload_pending(engine, gateway.of, NOW) == 0
    assert resolve(engine, account, {"image": {"file": "a.png"}}) == {"image": {"media_id": "M"}}


def test_a_refused_upload_says_why_and_is_not_repeated(engine: sa.Engine, account: Account) -> None:
    gateway = Gateway(refusal(40009))
    row_id = store(engine, account.id)
    media.upload_pending(engine, gateway.of, NOW)
    assert media.upload_pending(engine, gateway.of, NOW) == 0
    with db.reading(engine) as session:
        error = session.execute(sa.select(table.c.error).where(table.c.id == row_id)).scalar_one()
    assert "40009" in error


def test_a_platform_that_takes_nothing_today_is_not_asked_at_once_again(
    engine: sa.Engine, account: Account
) -> None:
    gateway = Gateway(*[refusal(45009, permanent=False)] * media.UPLOAD_LIMIT)
    for number in range(media.UPLOAD_LIMIT):
        store(engine, account.id, name=f"{number}.png")
    assert media.upload_pending(engine, gateway.of, NOW) == 0


def test_an_upload_without_an_answer_is_tried_again(engine: sa.Engine, account: Account) -> None:
    gateway = Gateway(NO_ANSWER, {"media_id": "M", "url": ""})
    store(engine, account.id)
    media.upload_pending(engine, gateway.of, NOW)
    media.upload_pending(engine, gateway.of, NOW)
    assert resolve(engine, account, {"image": {"file": "a.png"}}) == {"image": {"media_id": "M"}}
