"""The demo's two campaigns, as an account file: one for the right people, one for everybody."""

from datetime import datetime

from bot.clock import local

TARGETED, EVERYBODY = "奈雪8元券·微博留言", "新品上市·全量群发"

FILE = """\
version: 1
account: {{slug: muyan}}
campaigns:
  - name: {name}
    segment: {segment}
    at: {at}
    channels: [{channels}]
    content: {{text: "{text}"}}
    links: {{go: "https://weibo.com/u/1"}}
    goal: {{metric: guided, target: {target}}}
    approved_for: {{people: {people}, slots: {people}}}
    status: scheduled
"""


def targeted(at: datetime, size: int) -> bytes:
    """Followers with the right tags, free windows first. ``size`` is that of the demo."""
    return _file(
        TARGETED,
        "活动同好",
        at,
        "customer_service, mass",
        "微博留言，请你喝奶茶：{link:go}",
        size,
    )


def everybody(at: datetime, size: int) -> bytes:
    """The old way: one message to all."""
    return _file(EVERYBODY, "全体粉丝", at, "mass", "沐颜集冬季新品上市，来看看：{link:go}", size)


def _file(name: str, segment: str, at: datetime, channels: str, text: str, size: int) -> bytes:
    return FILE.format(
        name=name,
        segment=segment,
        at=local(at).isoformat(),
        channels=channels,
        text=text,
        target=size // 20,  # 1,000 people in the full size
        people=2 * size,  # newcomers come every day; the approval must not be outgrown
    ).encode()
