"""Which status may follow which, for campaigns and their runs, with a sentence for every refusal.

Also the words a run may give for waiting or being paused. Data and lookups only.
"""

from collections.abc import Mapping

from bot.errors import Refused

CAMPAIGN_STATUSES = ("draft", "scheduled", "stopped", "finished", "archived")
RUN_STATUSES = ("waiting", "planning", "running", "paused", "finished", "cancelled")
DELIVERY_STATUSES = ("planned", "sent", "failed", "unknown", "skipped")
OPEN_RUNS = ("waiting", "planning", "running", "paused")

CAMPAIGN_STEPS = frozenset(
    {
        ("draft", "scheduled"),
        ("draft", "archived"),
        ("scheduled", "stopped"),
        ("scheduled", "finished"),
        ("stopped", "scheduled"),
        ("stopped", "finished"),
        ("stopped", "archived"),
        ("finished", "archived"),
    }
)
RUN_STEPS = frozenset(
    {
        ("waiting", "planning"),
        ("waiting", "running"),
        ("waiting", "cancelled"),
        ("planning", "waiting"),
        ("planning", "running"),
        ("planning", "finished"),
        ("planning", "cancelled"),
        ("running", "paused"),
        ("running", "finished"),
        ("running", "cancelled"),
        ("paused", "running"),
        ("paused", "cancelled"),
    }
)

# (from, to) -> sentence; a pair with "*" holds for every status that has no sentence of its own
CAMPAIGN_REFUSALS: Mapping[tuple[str, str], str] = {
    (
        "draft",
        "stopped",
    ): "草稿还没有排期，没有什么可停 (a draft is not scheduled: nothing to stop)",
    ("draft", "finished"): "草稿还没有发送过 (a draft was never sent)",
    ("scheduled", "archived"): "请先停止，再归档 (stop the campaign before archiving it)",
    (
        "finished",
        "scheduled",
    ): "活动已结束，要再发请另建一个 (it has finished: make a new campaign)",
    ("finished", "stopped"): "活动已结束，没有什么可停 (it has finished: nothing to stop)",
    ("*", "draft"): "排过期的活动不能回到草稿 (what was scheduled cannot be a draft again)",
    ("archived", "*"): "已归档的活动不再改动 (an archived campaign does not change)",
}
RUN_REFUSALS: Mapping[tuple[str, str], str] = {
    ("waiting", "paused"): "还没有开始发送，没有什么可暂停 (nothing is being sent yet)",
    ("planning", "paused"): "还在规划，没有什么可暂停 (it is being planned: nothing is sent yet)",
    ("waiting", "finished"): "还在等待，不能算完成 (it is waiting and cannot be finished)",
    ("paused", "finished"): "请先继续发送，再由系统收尾 (resume it first)",
    ("*", "waiting"): "已经开始发送，不能再回去等待 (sending has begun)",
    ("*", "planning"): "已经规划过，不会再规划 (it is planned once)",
    ("finished", "*"): "已经完成，不再改动 (it has finished and does not change)",
    ("cancelled", "*"): "已经取消，不再改动 (it was cancelled and does not change)",
}

# why a run waits or is paused -> what the operator reads
RUN_REASONS: Mapping[str, Mapping[str, str]] = {
    "no_approval": {"zh": "等待审批", "en": "waits for approval"},
    "second_approval": {
        "zh": "等待第二位审批人",
        "en": "waits for a second operator's approval",
    },
    "changed": {"zh": "审批后内容有改动，需要重新审批", "en": "changed since it was approved"},
    "too_many_people": {
        "zh": "人数超过审批的上限，需要重新审批",
        "en": "more people than were approved",
    },
    "too_many_slots": {
        "zh": "群发名额超过审批的上限，需要重新审批",
        "en": "more mass slots than were approved",
    },
    "opening_not_stated": {
        "zh": "还没有说明本月接入前发过几次群发 (qunfen account opening)，群发暂停",
        "en": "nobody has said what was mass-sent this month before connecting "
        "(qunfen account opening); mass is blocked",
    },
    "unknown_external_send": {
        "zh": "有一次不是本系统发出的群发还没有说明发给了谁，群发暂停",
        "en": "a mass send from elsewhere is not explained yet; mass is blocked",
    },
    "account_stopped": {"zh": "公众号处于紧急停止", "en": "the account is stopped"},
    "no_mass_right": {
        "zh": "平台没有给这个公众号群发接口的权限 (48001)，开通后运行 qunfen account check",
        "en": "the platform does not grant this account the mass interface (48001); "
        "once it does, run qunfen account check",
    },
    "no_right": {
        "zh": "平台没有给这个公众号接口权限 (48001)，开通后运行 qunfen account check",
        "en": "the platform does not grant this account the interface (48001); "
        "once it does, run qunfen account check",
    },
    "segment_unfit": {
        "zh": "订阅号的群发只能发给全部粉丝或一个已同步的标签",
        "en": "a subscription account sends to everybody or to one synced tag only",
    },
    "no_tag": {
        "zh": "平台上没有能用来群发的临时标签",
        "en": "no temporary tag to send to could be made on the platform",
    },
    "segment_gone": {"zh": "人群已不存在", "en": "the segment no longer exists"},
    "countdown": {
        "zh": "发给所有人，倒计时中，结束前还可以停止",
        "en": "a send to everybody counts down and can still be stopped",
    },
    "too_many": {
        "zh": "人数超过公众号设置的上限，没有人能审批通过",
        "en": "more recipients than the account allows any run, whoever approves it",
    },
    "deciding": {"zh": "等待实验结果，其余的人还没有发", "en": "waits for a winner to be chosen"},
    "guard_unfollows": {
        "zh": "取关明显高于平常，已自动暂停",
        "en": "clearly more people unfollow than usual; paused by the guard",
    },
    "guard_errors": {
        "zh": "发送错误过多，已自动暂停",
        "en": "too many sends fail; paused by the guard",
    },
    "canary_failed": {
        "zh": "第一小批发送失败，其余的没有发出",
        "en": "the first small wave failed; the rest was held back",
    },
    "batch_conflict": {
        "zh": "平台返回的群发编号属于另一批，请人工核对",
        "en": "the platform named a send that belongs to another batch: somebody must look",
    },
    "approval_unsealed": {
        "zh": "审批记录无法核验，请重新审批",
        "en": "the approval cannot be verified: approve it again",
    },
    "skipped": {"zh": "这一波由运营人员跳过", "en": "this follow-up was left out by an operator"},
    "by_operator": {"zh": "由运营人员操作", "en": "by an operator"},
}
# pauses and waits that end by themselves when their cause is gone
BLOCKS = frozenset(
    {
        "opening_not_stated",
        "unknown_external_send",
        "account_stopped",
        "no_mass_right",
        "no_right",
    }
)


def check_campaign(old: str, new: str) -> None:
    """Raises Refused, with the sentence to show, when a campaign may not go from ``old`` to ``new``."""
    _check(CAMPAIGN_STEPS, CAMPAIGN_REFUSALS, old, new)


def check_run(old: str, new: str) -> None:
    """Raises Refused, with the sentence to show, when a run may not go from ``old`` to ``new``."""
    _check(RUN_STEPS, RUN_REFUSALS, old, new)


def explain(reason: str | None, locale: str = "zh") -> str:
    """What an operator reads for a run's stored reason: a word, or a word and a detail (``word: detail``)."""
    if not reason:
        return ""
    word, _, detail = reason.partition(": ")
    known = RUN_REASONS.get(word)
    if known is None:
        return reason
    text = known["en" if locale.startswith("en") else "zh"]
    return f"{text} ({detail})" if detail else text


def _check(
    steps: frozenset[tuple[str, str]],
    refusals: Mapping[tuple[str, str], str],
    old: str,
    new: str,
) -> None:
    if old == new or (old, new) in steps:
        return
    for pair in ((old, new), (old, "*"), ("*", new)):
        if pair in refusals:
            raise Refused(refusals[pair])
    raise Refused(f"{old} does not become {new}")
