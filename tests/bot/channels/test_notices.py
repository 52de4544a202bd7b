"""Template messages and subscription notices: what is posted, what the sandbox refuses, what the lists say."""

from datetime import datetime
from typing import Any

import pytest

from bot import content, registry
from bot.campaigns.reach import Candidate
from bot.channels import Item, subscription, template, unfit
from bot.errors import Refused, WeChatError
from bot.wechat import subscriptions, templates
from tests.bot.stage import Stage
from tests.factories import at, open_id

NOW = at("2026-11-30 09:00")
NOTICE = {
    "template": "TPL",
    "data": {"thing1": "{nickname|您}的券快到期了", "time2": "2026-11-30 20:30"},
    "url": "https://example.com/c",
}
LISTED = [
    {"id": "TPL", "title": "优惠到期", "content": "券名：{{thing1.DATA}}\n到期：{{time2.DATA}}"},
    {
        "id": "LONG",
        "title": "停水",
        "content": "{{thing1.DATA}}",
        "kind": "subscription",
        "type": 3,
    },
]


@pytest.fixture
def stage() -> Stage:
    found = Stage(NOW, options={"templates": LISTED, "mini_programs": ["wx00000000000000aa"]})
    found.follow(1, 2)
    return found


def item(number: int = 1, *, row: int = 7, open_: bool = True, **changed: Any) -> Item:
    said = content.render({"notice": NOTICE | changed}, {"nickname": "林"})
    who = open_id(number) if open_ else None
    return Item(row, 1, "template", "delivery", 5, 3, who, {"content": said}, 1, NOW, None)


def seen(stage: Stage, number: int = 1) -> list[dict[str, Any]]:
    return [
        one["content"] for one in stage.platform.received("wx1234567890abcdef", open_id(number))
    ]


def test_a_template_message_says_what_was_written_for_this_follower(stage: Stage) -> None:
    assert template.send(stage.wechat, item())["msg_id"].isdigit()
    [shown] = seen(stage)
    assert shown["data"]["thing1"]["value"] == "林的券快到期了"
    assert (shown["url"], shown["client_msg_id"]) == ("https://example.com/c", "q7")


def test_the_same_row_again_is_shown_once(stage: Stage) -> None:
    for _ in range(2):
        template.send(stage.wechat, item())
    assert len(seen(stage)) == 1
    template.send(stage.wechat, item(row=8))
    assert len(seen(stage)) == 2


def test_a_notice_needs_an_accept_and_uses_it_up(stage: Stage) -> None:
    with pytest.raises(WeChatError) as problem:
        subscription.send(stage.wechat, item())
    assert problem.value.errcode == 43101
    stage.platform.accept_notices("wx1234567890abcdef", open_id(1), "TPL")
    subscription.send(stage.wechat, item())
    with pytest.raises(WeChatError):
        subscription.send(stage.wechat, item())
    [shown] = seen(stage)
    assert shown["page"] == "https://example.com/c"


@pytest.mark.parametrize(
    ("changed", "errcode"),
    [
        ({"template": "NO"}, 40037),
        ({"data": {"thing1": "只有一个"}}, 47003),
        ({"data": {"thing1": "券", "time2": "明天"}}, 47003),
        ({"mini_program": {"app_id": "wx00000000000000bb", "page": "p"}}, 40166),
    ],
)
def test_what_the_platform_refuses(stage: Stage, changed: dict[str, Any], errcode: int) -> None:
    with pytest.raises(WeChatError) as problem:
        template.send(stage.wechat, item(**changed))
    assert problem.value.errcode == errcode
    assert problem.value.permanent


def test_without_a_follower_nothing_leaves(stage: Stage) -> None:
    for channel in (template, subscription):
        with pytest.raises(Refused):
            channel.send(stage.wechat, item(open_=False))
    assert stage.calls == []


def test_the_lists_of_the_platform(stage: Stage) -> None:
    assert [one.id for one in templates.every(stage.wechat)] == ["TPL"]
    found = {one.id: one.long_term for one in subscriptions.every(stage.wechat)}
    assert found == {"TPL": False, "LONG": True}


def test_only_who_accepted_can_be_reached(now: datetime) -> None:
    said = {"notice": NOTICE}
    assert subscription.blocked(Candidate(1, consents={"TPL": 1}), said, now) is None
    for consents in ({}, {"TPL": 0}, {"OTHER": 3}):
        assert subscription.blocked(Candidate(1, consents=consents), said, now) == "no_consent"
    assert (
        subscription.blocked(Candidate(1, consents={"TPL": 1}), {"text": "x"}, now) == "no_consent"
    )
    assert template.blocked(Candidate(1), said, now) is None


@pytest.mark.parametrize(
    ("name", "kind", "message_class", "fits"),
    [
        ("template", "service", "service", True),
        ("template", "service", "marketing", False),
        ("template", "subscription", "service", False),
        ("subscription", "service", "marketing", False),
        ("customer_service", "subscription", "marketing", True),
    ],
)
def test_no_marketing_by_service_notices(
    name: str, kind: str, message_class: str, fits: bool
) -> None:
    assert (unfit(registry.members("bot.channels")[name], kind, message_class) is None) == fits
