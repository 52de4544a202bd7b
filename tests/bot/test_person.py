"""One person's data as a file for that person, and nothing of it left after an erasure."""

import io
import json
import zipfile
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient

from bot import db, erasure, follower_edits, follower_files, outbox, person, rulebook
from bot.accounts import Account
from bot.tables.followers import followers
from bot.tables.inbox import conversations, inbound, inbound_media
from bot.tables.outbox import outbox as outbox_table
from bot.tables.rulebooks import dry_run_changes, dry_runs
from tests import factories, pushes
from tests.bot.test_erasure import everything

WHO = factories.open_id(1)
PRIVATE = ("13800000000", "小林", "xiaolin", "PICTURE")


def lived(client: FlaskClient, engine: sa.Engine, account: Account, now: datetime) -> int:
    rule: dict[str, Any] = {
        "name": "记住",
        "when": [{"text_contains": {"any": ["电话"]}}],
        "then": [{"add_tag": {"tags": ["会员"]}}, {"reply": {"text": "好"}}],
    }
    with db.writing(engine) as session:
        body: dict[str, Any] = {"rules": [rule], "fallback": None}
        rulebook.publish(session, account.id, body, by="Ann", note="", now=now)
    pushes.post(client, pushes.text("电话 13800000000", at=now), at=now)
    with db.writing(engine) as session:
        follower_id = int(session.execute(sa.select(followers.c.id)).scalar_one())
        push_id = session.execute(sa.select(inbound.c.id)).scalar_one()
        follower_edits.set_remark(session, account.id, follower_id, "小林", now)
        follower_edits.set_fields(session, account.id, follower_id, {"称呼": "小林"})
        session.execute(
            sa.insert(inbound_media).values(
                push_id=push_id,
                account_id=account.id,
                type="image/jpeg",
                data=b"PICTURE",
                fetched_at=now,
            )
        )
        session.execute(
            sa.insert(conversations).values(
                follower_id=follower_id, account_id=account.id, read_to=push_id, agent="阿敏"
            )
        )
        run = session.execute(
            sa.insert(dry_runs)
            .values(
                account_id=account.id,
                body={},
                against=1,
                state="done",
                last=1,
                done=1,
                total=1,
                created_by="Ann",
                created_at=now,
            )
            .returning(dry_runs.c.id)
        ).scalar_one()
        session.execute(
            sa.insert(dry_run_changes).values(
                account_id=account.id,
                dry_run_id=run,
                push_id=push_id,
                follower_id=follower_id,
                change={"said": "13800000000"},
            )
        )
        outbox.put(
            session,
            account_id=account.id,
            channel="customer_service",
            purpose="agent",
            purpose_id=None,
            payload={"content": {"text": "小林您好"}},
            now=now,
            follower_id=follower_id,
        )
    return follower_id


def test_the_file_holds_all_there_is_about_one_person_and_of_nobody_else(
    client: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    follower_id = lived(client, engine, account, now)
    with db.writing(engine) as session:
        factories.make_follower(session, account.id, 2, now=now, remark="别人")
    with db.reading(engine) as session:
        data = person.file(session, account.id, follower_id)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        told = json.loads(packed.read("person.json"))
        picture = packed.read(f"media/{told['pushes'][0]['id']}.jpg")
    assert picture == b"PICTURE"
    assert told["follower"]["open_id"] == WHO
    assert told["follower"]["fields"] == {"称呼": "小林"}
    assert [tag["name"] for tag in told["tags"]] == ["会员"]
    assert told["pushes"][0]["message"]["fields"]["Content"] == "电话 13800000000"
    assert told["messages"][0]["payload"]["content"] == {"text": "小林您好"}
    assert told["reply_windows"][0]["opened_by"] == "message"
    assert told["events"][0]["kind"] == "message"
    assert "别人" not in json.dumps(told, ensure_ascii=False)


def test_after_an_erasure_no_table_holds_the_person_not_even_an_upload_that_waits(
    client: FlaskClient, engine: sa.Engine, account: Account, now: datetime
) -> None:
    follower_id = lived(client, engine, account, now)
    upload = follower_files.read("a.csv", f"OpenID,备注\n{WHO},小林\n".encode())
    with db.writing(engine) as session:
        found = follower_files.look(session, account.id, upload)
        follower_files.keep(session, account.id, upload, found, "mark", factories.SECRET_KEY, now)
    before = everything(engine)
    for private in (WHO, *PRIVATE):
        assert private in before, "the test must plant what it looks for"
    with db.writing(engine) as session:
        erasure.forget(session, account.id, follower_id, factories.SECRET_KEY, now)
    after = everything(engine)
    for private in (WHO, *PRIVATE):
        assert private not in after
    with db.reading(engine) as session:
        waiting = session.execute(sa.select(outbox_table.c.status)).scalars().all()
        assert waiting == ["cancelled"], "a message without a content must not be sent"
        profile = person.profile(session, account.id, follower_id, now + timedelta(days=1))
    assert profile is not None
    assert profile.tags == ()
