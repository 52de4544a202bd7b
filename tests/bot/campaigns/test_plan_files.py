"""The plan document as a file comes back as the same plan, whatever stands in it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.accounts import Account
from bot.audiences import segments
from bot.campaigns import definitions, document, plan_files, plan_table
from bot.db import Session
from bot.errors import Invalid
from tests import factories

NOW = factories.at("2025-11-14 09:00")
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: text.strip() == text and text != ""
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "name": st.just("奈雪8元券"),
        "at": st.just("2025-11-25T20:30:00+08:00"),
        "channels": st.sampled_from([["mass"], ["customer_service", "mass"]]),
        "content": st.fixed_dictionaries(
            {"text": st.sampled_from(["微博留言 {link:wb}", "-5 折", "=1"])}
        ),
        "links": st.just({"wb": "https://weibo.com/u/1"}),
    },
    optional={
        "holdout": st.sampled_from([0.1, 0.05, 0.3333]),
        "goal": st.just({"metric": "guided", "target": 1000}),
        "pace": st.just({"batches": 5, "every": "30m"}),
        "after": st.just({"wait": "24h", "clicked": "点击"}),
        "worth": st.just({"click": 2.0, "protect": True}),
        "brief": st.fixed_dictionaries(
            {
                "participation": TEXTS,
                "benefit": TEXTS,
                "burst": st.booleans(),
                "monitoring": st.lists(TEXTS, max_size=3),
                "expected": st.integers(0, 5000) | TEXTS,
            },
            optional={"备注": TEXTS, "3.5": TEXTS, "[0]": TEXTS},
        ),
        "experiment": st.just(
            {
                "of": "content",
                "variants": [
                    {"name": "A", "content": {"text": "8 元券 {link:wb}"}},
                    {"name": "B", "content": {"text": "请你喝奶茶"}},
                ],
                "shares": [0.3, 0.7],
            }
        ),
        "follow_ups": st.just([{"after": "48h", "channels": ["customer_service"]}]),
    },
).flatmap(
    lambda given: st.sampled_from(
        [
            {**given, "segment": "微博互动"},
            {**given, "groups": [{"name": "G1", "segment": "微博互动", "rate": 0.32}]},
        ]
    )
)


@settings(max_examples=150, deadline=None)
@given(whole=st.dictionaries(WORDS, VALUES, max_size=4))
def test_whatever_a_document_holds_comes_back(whole: dict[str, Any]) -> None:
    wanted = {key: one for key, one in whole.items() if key not in plan_files.LEFT_OUT}
    text = plan_files.to_csv(wanted)
    assert plan_files.from_csv(text) == wanted
    assert plan_files.to_csv(plan_files.from_csv(text)) == text


@settings(max_examples=60, deadline=None)
@given(whole=DOCUMENTS)
def test_a_campaign_s_csv_says_the_same_campaign_byte_for_byte(whole: dict[str, Any]) -> None:
    text = plan_files.to_csv(document.parse(whole))
    assert plan_files.to_csv(document.parse(plan_files.from_csv(text))) == text


def test_csv_to_stored_campaign_to_csv_is_identical(account: Account, session: Session) -> None:
    segments.save(session, account.id, "微博互动", {"all": []}, NOW)
    whole = {
        "name": "奈雪8元券",
        "groups": [{"name": "G1", "segment": "微博互动", "rate": 0.32}],
        "at": "2025-11-25T20:30:00+08:00",
        "channels": ["customer_service", "mass"],
        "content": {"text": "微博留言 {link:wb}"},
        "links": {
            "wb": "https://weibo.com/u/1",
            "a": "https://a.example/",
            "long": "https://b.example/",
        },
        "goal": {"metric": "guided", "target": 1000},
        "holdout": 0.1,
        "follow_ups": [{"after": "48h", "channels": ["customer_service"]}],
        "brief": {
            "participation": "留言",
            "monitoring": ["送达", "点击"],
            "expected": 1072,
            "burst": True,
        },
    }
    text = plan_files.to_csv(document.parse(whole))
    stored = definitions.save(session, account, plan_files.from_csv(text), NOW, by="Ann")
    assert plan_files.to_csv(definitions.document_of(stored)) == text


def test_the_nine_fields_stand_in_the_file_and_in_markdown() -> None:
    whole = {
        "name": "奈雪8元券",
        "groups": [{"name": "G1", "segment": "微博互动", "rate": 0.32}],
        "channels": ["customer_service", "mass"],
        "at": "2025-11-14T20:30:00+08:00",
        "content": {"text": "请你喝奶茶"},
        "brief": {
            "features": "有标签「微博来源」",
            "people": "5000",
            "monitoring": ["送达", "点击"],
            "meaning": "内容对不对",
        },
    }
    listed = {(part, item): value for part, item, value, _key in plan_files.rows(whole)}
    assert listed["人群", "特征标签"] == "有标签「微博来源」"
    assert listed["人群", "人数"] == "5000"
    assert listed["推广", "渠道 · 1"] == "customer_service"
    assert listed["数据", "监测项目 · 2"] == "点击"
    text = plan_files.markdown(whole, {"微博互动": "有标签「微博来源」"})
    for words in ("## 人群", "## 推广", "## 数据", "客服消息 → 群发", "2025-11-14 20:30", "5,000"):
        assert words in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line"),
        ("a,b\r\n", "first line"),
        ("部分,项目,内容,键\r\n推广,x,1\r\n", "fewer than four"),
        ("部分,项目,内容,键\r\na,b,1,name\r\na,b,2,name\r\n", "twice"),
        ("部分,项目,内容,键\r\na,b,1,name\r\na,b,2,name.x\r\n", "inside a value"),
        ("部分,项目,内容,键\r\na,b,1," + "x." * 20 + "\r\n", "too deeply"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        plan_files.from_csv(text)


def test_a_table_of_plans_comes_back_as_it_was() -> None:
    row = {
        "name": "纸尿裤唤回",
        "segment": "沉睡妈妈、G2",
        "size": "1300",
        "product": "纸尿裤 M",
        "content": "=回来看看",
        "channels": "客服消息 → 群发",
        "at": "2025-11-25 20:30",
        "stage": "沉睡",
        "goal": "1000",
        "owner": "王芳",
    }
    (made,) = plan_table.from_csv(plan_table.to_csv([row]))
    assert [group["segment"] for group in made["groups"]] == ["沉睡妈妈", "G2"]
    assert made["channels"] == ["customer_service", "mass"]
    assert plan_table.to_csv([plan_table.row(made, 1300)]) == plan_table.to_csv([row])


@pytest.mark.parametrize(
    ("cells", "said"),
    [("甲,一百", "goal"), ("甲,", "at")],
)
def test_a_wrong_row_is_named(cells: str, said: str) -> None:
    name, goal = cells.split(",")
    header = "人群,目标,时间"
    with pytest.raises(Invalid, match=rf"row 2: {said}"):
        plan_table.from_csv(f"{header}\r\n{name},{goal},昨天\r\n")
