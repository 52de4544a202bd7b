"""Pushes whose handling failed: handled again by a job, after saying what that does."""

from typing import Any

from flask import url_for
from flask_babel import gettext as _

from bot import db, inbox, jobs
from bot.console.access import Here, confirm, done, go, page

MOST = 10_000


@page("/pushes/replay", "rules.publish")
def pushes_replay(here: Here) -> Any:
    """What handling them again would do, and to how many."""
    with db.reading(here.rt.engine) as session:
        failed = len(inbox.failed_ids(session, here.account.id, MOST))
    if not failed:
        return done(_("没有处理失败的推送。"), "home")
    return confirm(
        _("重新处理失败的推送"),
        [
            _(
                "将按收到的顺序重新处理 %(count)s 条推送：打标签、记事件，规则照常判定。",
                count=f"{failed:,}",
            ),
            _("回复只发给还在 48 小时窗口内的粉丝；已经处理好的推送不会再处理。"),
        ],
        action=url_for(".pushes_replay_now"),
        button=_("重新处理"),
        back=url_for(".home"),
    )


@page("/pushes/replay", "rules.publish", methods=("POST",))
def pushes_replay_now(here: Here) -> Any:
    """Begin the job; its bar leads back home."""
    with db.writing(here.rt.engine) as session:
        failed = inbox.failed_ids(session, here.account.id, MOST)
        job_id = jobs.enqueue(
            session,
            "replay_failed",
            {},
            now=here.now,
            unique_key=f"replay:{here.account.id}:{here.now.isoformat(timespec='minutes')}",
            account_id=here.account.id,
        )
        if job_id is not None:
            here.audit(session, "pushes.replay", f"{len(failed)}", after={"pushes": len(failed)})
    if job_id is None:
        return done(_("刚刚已经开始重新处理，请稍等。"), "home")
    return go(url_for(".progress", job_id=job_id, then=url_for(".home")))
