"""Tags and who carries them. Source: docs/wechat-limits.md 5 (read 2026-11)."""

from typing import Any

from bot.sandbox.api_users import after, page
from bot.sandbox.calls import Call, Json, endpoint, known, ok
from bot.sandbox.limits import (
    SYSTEM_TAG_IDS,
    SYSTEM_TAGS,
    TAG_BATCH,
    TAG_DELETE_MEMBERS,
    TAG_MEMBERS_PER_PAGE,
    TAG_NAME_BYTES,
    TAGS_PER_ACCOUNT,
    TAGS_PER_FOLLOWER,
)
from bot.sandbox.refusal import Refusal
from bot.sandbox.world import World, follower

FIRST_ID = 100


def _tag(call: Call) -> Json:
    tag = call.json().get("tag")
    if not isinstance(tag, dict):
        raise Refusal(44002)
    return tag


def _name(world: World, call: Call, value: Any, own_id: int | None = None) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refusal(45157, "invalid tag name")
    if len(value.encode()) > TAG_NAME_BYTES:
        raise Refusal(45158, "tag name too long")
    taken = world.store.value(
        "SELECT id FROM tags WHERE account_id = ? AND name = ?", call.me.id, value
    )
    if value in SYSTEM_TAGS.values() or taken not in (None, own_id):
        raise Refusal(45157, "invalid tag name")
    return value


def _own_tag(world: World, call: Call, tag_id: Any, system: bool = False) -> int:
    """The id of a tag of this account.

    Raises:
        Refusal: 45058 a system tag (unless ``system``), 45159 unknown.
    """
    if not isinstance(tag_id, int) or isinstance(tag_id, bool):
        raise Refusal(45159, "invalid tag id")
    if tag_id in SYSTEM_TAG_IDS:
        if system:
            return tag_id
        raise Refusal(45058, "can not modify sys tag")
    if not world.store.one(
        "SELECT id FROM tags WHERE account_id = ? AND id = ?", call.me.id, tag_id
    ):
        raise Refusal(45159, "invalid tag id")
    return tag_id


def members(world: World, account_id: int, tag_id: int) -> int:
    return int(
        world.store.value(
            "SELECT count(*) FROM follower_tags WHERE account_id = ? AND tag_id = ?",
            account_id,
            tag_id,
        )
    )


def make(world: World, account_id: int, name: str) -> int:
    """A new tag; its id."""
    number = world.store.next_id(f"tag.{account_id}", FIRST_ID)
    world.store.run("INSERT INTO tags VALUES (?, ?, ?)", account_id, number, name)
    return number


def put_on(world: World, account_id: int, tag_id: int, open_ids: list[str]) -> None:
    order = world.store.next_id("tagging", 1)
    world.store.many(
        "INSERT OR IGNORE INTO follower_tags VALUES (?, ?, ?, ?)",
        ((account_id, tag_id, open_id, order) for open_id in open_ids),
    )


@endpoint("/cgi-bin/tags/create", needs="users")
def create(world: World, call: Call) -> Json:
    name = _name(world, call, _tag(call).get("name"))
    count = world.store.value("SELECT count(*) FROM tags WHERE account_id = ?", call.me.id)
    if count >= TAGS_PER_ACCOUNT:
        raise Refusal(45056, "too many tags")
    return {"tag": {"id": make(world, call.me.id, name), "name": name}}


@endpoint("/cgi-bin/tags/get", "GET", needs="users")
def get(world: World, call: Call) -> Json:
    own = world.store.all("SELECT * FROM tags WHERE account_id = ? ORDER BY id", call.me.id)
    named = [*SYSTEM_TAGS.items(), *((row["id"], row["name"]) for row in own)]
    return {
        "tags": [
            {"id": number, "name": name, "count": members(world, call.me.id, number)}
            for number, name in named
        ]
    }


@endpoint("/cgi-bin/tags/update", needs="users")
def update(world: World, call: Call) -> Json:
    tag = _tag(call)
    number = _own_tag(world, call, tag.get("id"))
    name = _name(world, call, tag.get("name"), number)
    world.store.run(
        "UPDATE tags SET name = ? WHERE account_id = ? AND id = ?", name, call.me.id, number
    )
    return ok()


@endpoint("/cgi-bin/tags/delete", needs="users")
def delete(world: World, call: Call) -> Json:
    number = _own_tag(world, call, _tag(call).get("id"))
    if members(world, call.me.id, number) > TAG_DELETE_MEMBERS:
        raise Refusal(45057, "can't delete the tag that has too many fans")
    world.store.run("DELETE FROM tags WHERE account_id = ? AND id = ?", call.me.id, number)
    world.store.run(
        "DELETE FROM follower_tags WHERE account_id = ? AND tag_id = ?", call.me.id, number
    )
    return ok()


@endpoint("/cgi-bin/user/tag/get", "ANY", needs="users")
def tag_members(world: World, call: Call) -> Json:
    body = call.json()
    number = _own_tag(world, call, body.get("tagid"), system=True)
    rows = world.store.all(
        "SELECT f.open_id FROM follower_tags t JOIN followers f ON f.account_id = t.account_id"
        " AND f.open_id = t.open_id WHERE t.account_id = ? AND t.tag_id = ? AND f.id > ?"
        " ORDER BY f.id LIMIT ?",
        call.me.id,
        number,
        after(world, call.me, body.get("next_openid")),
        TAG_MEMBERS_PER_PAGE,
    )
    return page([row["open_id"] for row in rows])


def _batch(world: World, call: Call) -> tuple[int, list[str]]:
    """The tag and the followers of one tagging call, all of them following now.

    Raises:
        Refusal: 40031, 40032 over 50, 45159, 40003 not a string, 49003 foreign, 50005 has left.
    """
    body = call.json()
    open_ids = body.get("openid_list")
    if not isinstance(open_ids, list) or not open_ids:
        raise Refusal(40031)
    if len(open_ids) > TAG_BATCH:
        raise Refusal(40032)
    number = _own_tag(world, call, body.get("tagid"), system=True)
    for open_id in open_ids:
        if not isinstance(open_id, str) or not open_id:
            raise Refusal(40003)
        row = follower(world, call.me.id, open_id)
        if row is None:
            raise Refusal(49003, "openid does not belong to this appid")
        if not row["subscribed"]:
            raise Refusal(50005, "user not subscribed")
    return number, open_ids


@endpoint("/cgi-bin/tags/members/batchtagging", needs="users")
def batch_tag(world: World, call: Call) -> Json:
    number, open_ids = _batch(world, call)
    for open_id in open_ids:
        count = world.store.value(
            "SELECT count(*) FROM follower_tags WHERE account_id = ? AND open_id = ? AND tag_id <> ?",
            call.me.id,
            open_id,
            number,
        )
        if count >= TAGS_PER_FOLLOWER:
            raise Refusal(45059, "user has too many tags")
    put_on(world, call.me.id, number, open_ids)
    return ok()


@endpoint("/cgi-bin/tags/members/batchuntagging", needs="users")
def batch_untag(world: World, call: Call) -> Json:
    number, open_ids = _batch(world, call)
    world.store.many(
        "DELETE FROM follower_tags WHERE account_id = ? AND tag_id = ? AND open_id = ?",
        [(call.me.id, number, open_id) for open_id in open_ids],
    )
    return ok()


@endpoint("/cgi-bin/tags/getidlist", needs="users")
def tags_of(world: World, call: Call) -> Json:
    row = known(world, call.me, call.json().get("openid"))
    tags = world.store.all(
        "SELECT tag_id FROM follower_tags WHERE account_id = ? AND open_id = ? ORDER BY added",
        call.me.id,
        row["open_id"],
    )
    return {"tagid_list": [tag["tag_id"] for tag in tags]}
