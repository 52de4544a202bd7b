"""Materials, articles and templates by API."""

import base64

import pytest

from bot import db, materials
from bot.accounts import Account
from bot.runtime import Runtime
from tests import factories
from tests.bot.api.conftest import Program

pytestmark = pytest.mark.sqlite  # the same queries run on both databases in their own tests
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 64).decode()
DOCUMENT = {
    "title": "双 11 攻略",
    "html": "<p>好</p><script>x</script>",
    "cover": {"file": "c.png"},
}


def test_a_material_is_handed_in_used_and_put_away(api: Program):
    made = api.told("POST", "/materials", {"kind": "image", "name": "c.png", "data": PNG}, 201)
    assert (made["state"], made["name"], made["expires_at"]) == ("waiting", "c.png", None)
    wrong = {"kind": "image", "name": "x.png", "data": "不是"}
    assert api.refused("POST", "/materials", wrong) == (422, "invalid")
    api.told("POST", "/articles", {"document": DOCUMENT}, 201)
    seen = api.told("GET", f"/materials/{made['id']}")
    assert seen["used_by"] == [{"thing": "article", "name": "双 11 攻略", "live": False}]
    api.told("DELETE", f"/materials/{made['id']}")
    assert api.told("GET", "/materials")["items"] == []
    assert len(api.told("GET", "/materials?archived=true")["items"]) == 1
    assert api.refused("GET", "/materials/99") == (404, "not-found")


def test_an_article_is_written_changed_and_published(api: Program):
    made = api.told("POST", "/articles", {"document": DOCUMENT}, 201)
    assert made["document"]["html"] == "<p>好</p>" and made["status"] == "draft"
    at = f"/articles/{made['id']}"
    newer = {"document": DOCUMENT | {"title": "改了"}, "version": 1}
    assert api.told("PUT", at, newer)["version"] == 2
    again = {"document": DOCUMENT | {"title": "又改"}, "version": 1}
    assert api.refused("PUT", at, again) == (409, "conflict")
    assert api.refused("POST", "/articles", {"document": {"title": "空"}}) == (422, "invalid")
    assert api.told("POST", f"{at}/publish")["status"] == "publishing"
    assert api.refused("POST", f"{at}/publish") == (409, "conflict")
    assert [one["title"] for one in api.told("GET", "/articles")["items"]] == ["改了"]
    assert api.told("GET", "/templates")["items"] == []


def test_another_accounts_are_not_there(api: Program, rt: Runtime, account: Account, now):
    with db.writing(rt.engine) as session:
        other = factories.make_account(session, "other", now=now)
        data = base64.b64decode(PNG)
        made = materials.hand_in(session, other, "image", "c.png", data, now, by="Bo")
    assert api.refused("GET", f"/materials/{made}") == (404, "not-found")
