"""Mass send 群发: by OpenIDs, by tag, to everybody. Refuses by itself whatever could reach the wrong people.

Source: docs/wechat-limits.md 8 (read 2026-11).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.errors import Refused, WeChatError
from bot.wechat import drafts, media
from bot.wechat.client import WeChat
from bot.wechat.contents import mass_json, media_id, preview_json
from bot.wechat.errcodes import RETRY

MIN_OPEN_IDS, MAX_OPEN_IDS = 2, 10_000  # 40130 and 40032
# bytes; today's page says 32, the older one 64: unsure, so the stricter
MAX_CLIENT_MSG_ID = 32
# tags 0, 1 and 2 are the platform's own: 0 "untagged", 1 the old blacklist, 2 starred
LAST_SYSTEM_TAG = 2
ALREADY_SUBMITTED = 45065
# what stands for material and drafts in content, before and after they were looked up
MEDIA_KEYS = ("file", "media_id", "article_id", "wire", "thumb")
DRAFT_GONE = (
    40007  # a draft leaves the box when it was sent: the next batch of one campaign finds none
)
# seconds; 45066 punishes a repeat of one clientmsgid within a minute
REPEAT_AFTER = 60


@dataclass(frozen=True, slots=True)
class MassReceipt:
    """The platform took a send. ``msg_id`` is that of its result event, "" where the platform named none.

    ``repeated``: it had already taken this client_msg_id (45065), now or in an earlier try.
    """

    msg_id: str
    msg_data_id: str | None
    repeated: bool


@dataclass(frozen=True, slots=True)
class Approval:
    """Two people agreed to this send to everybody. Who they are is checked where it is given.

    ``seal``: over ``order_bytes`` of this very call. Without one that the gateway can verify nothing leaves.
    """

    asked_by: str
    approved_by: str
    seal: str = ""


def send_to_open_ids(
    wechat: WeChat, open_ids: Sequence[str], content: Mapping[str, Any], client_msg_id: str
) -> MassReceipt:
    """Send to 2 to 10,000 followers by name; verified service accounts only.

    Raises:
        Refused: too few, too many, blank or repeated OpenIDs, or an unusable client_msg_id.
        WeChatError: errcode None or action "unknown": repeat with the same client_msg_id after 60 s.
        Invalid: the content cannot be mass sent.
    """
    if isinstance(open_ids, str) or not MIN_OPEN_IDS <= len(open_ids) <= MAX_OPEN_IDS:
        raise Refused(f"a mass send takes {MIN_OPEN_IDS} to {MAX_OPEN_IDS:,} OpenIDs")
    if not all(isinstance(open_id, str) and open_id.strip() for open_id in open_ids):
        raise Refused("a mass send has an empty OpenID")
    if len(set(open_ids)) != len(open_ids):
        raise Refused("a mass send names an OpenID twice")
    return _submit(wechat, "send", {"touser": list(open_ids)}, content, client_msg_id)


def send_to_tag(
    wechat: WeChat, tag_id: int, content: Mapping[str, Any], client_msg_id: str
) -> MassReceipt:
    """Send to one tag of the platform (its id, not ours).

    Raises:
        Refused: no usable tag. Others as ``send_to_open_ids``.
    """
    if not isinstance(tag_id, int) or isinstance(tag_id, bool) or tag_id <= LAST_SYSTEM_TAG:
        raise Refused("a mass send to a tag needs the platform's id of a tag of this account")
    target = {"filter": {"is_to_all": False, "tag_id": tag_id}}
    return _submit(wechat, "sendall", target, content, client_msg_id)


def send_to_all(
    wechat: WeChat, content: Mapping[str, Any], client_msg_id: str, approval: Approval
) -> MassReceipt:
    """Send to every follower. The only place where ``is_to_all`` is true.

    Raises:
        Refused: the approval does not carry two different names, or its seal is not of this account, call and
            content. Others as ``send_to_open_ids``.
    """
    if not isinstance(approval, Approval):
        raise Refused("a send to everybody needs an approval")
    names = {name.strip().casefold() for name in (approval.asked_by, approval.approved_by)}
    if len(names) != 2 or "" in names:
        raise Refused("a send to everybody must be approved by a second person")
    message = order_bytes(
        wechat.app_id, client_msg_id, content, approval.asked_by, approval.approved_by
    )
    if not wechat.vouches(message, approval.seal):
        raise Refused("the approval of this send to everybody cannot be verified")
    return _submit(wechat, "sendall", {"filter": {"is_to_all": True}}, content, client_msg_id)


def order_bytes(
    app_id: str, client_msg_id: str, content: Mapping[str, Any], asked_by: str, approved_by: str
) -> bytes:
    """What the seal of a send to everybody stands for: account, call, words and names.

    Which copy of a file the platform has is known only later and may change, so media are left out.
    """
    said = [app_id, client_msg_id, _words(content), asked_by, approved_by]
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _words(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _words(value) for key, value in content.items() if key not in MEDIA_KEYS}
    return content


def preview(wechat: WeChat, open_id: str, content: Mapping[str, Any]) -> None:
    """Show one tester what a mass send would look like; counts against nobody's four.

    Raises:
        Refused: no OpenID.
        WeChatError: the platform said no, or did not answer.
        Invalid: the content cannot be mass sent.
    """
    if not open_id.strip():
        raise Refused("a preview needs an OpenID")
    content = _with_draft(wechat, content)
    body = preview_json(_with_mass_video(wechat, content))
    _call(wechat, "/cgi-bin/message/mass/preview", {"touser": open_id, **body}, content)


def job_status(wechat: WeChat, msg_id: str) -> str:
    """SEND_SUCCESS, SENDING, SEND_FAIL or DELETE, as the platform writes it; "" where it says nothing.

    Raises:
        WeChatError: the platform said no, or did not answer.
    """
    body = wechat.call("/cgi-bin/message/mass/get", {"msg_id": str(msg_id)})
    return str(body.get("msg_status") or "")


def _submit(
    wechat: WeChat,
    name: str,
    target: dict[str, Any],
    content: Mapping[str, Any],
    client_msg_id: str,
) -> MassReceipt:
    if not (client_msg_id.isascii() and 1 <= len(client_msg_id) <= MAX_CLIENT_MSG_ID):
        raise Refused(f"client_msg_id must have 1 to {MAX_CLIENT_MSG_ID} ASCII characters")
    content = _with_draft(wechat, content)
    body = mass_json(_with_mass_video(wechat, content))
    payload = {**target, **body, "clientmsgid": client_msg_id}
    unknown: WeChatError | None = None
    try:
        answer = _call(wechat, f"/cgi-bin/message/mass/{name}", payload, content)
    except WeChatError as error:
        if error.errcode == ALREADY_SUBMITTED:
            # the page names it msgid, the wire msg_id
            known = _id(error.body.get("msg_id")) or _id(error.body.get("msgid"))
            return MassReceipt(known or "", None, repeated=True)
        if error.errcode is None or error.action != RETRY:
            raise
        unknown = error
    if unknown is not None:
        # "busy" does not say whether the send was taken. Source: docs/wechat-limits.md 8
        raise WeChatError(
            unknown.errcode,
            unknown.message,
            permanent=False,
            wait_seconds=max(REPEAT_AFTER, unknown.wait_seconds),
            action="unknown",
            body=unknown.body,
        )
    return MassReceipt(_id(answer.get("msg_id")) or "", _id(answer.get("msg_data_id")), False)


def _with_draft(wechat: WeChat, content: Mapping[str, Any]) -> Mapping[str, Any]:
    article = content.get("article")
    if not article or article.get("media_id") or not article.get("wire"):
        return content
    return {"article": {**article, "media_id": drafts.add(wechat, article["wire"])}}


def _call(
    wechat: WeChat, path: str, payload: Mapping[str, Any], content: Mapping[str, Any]
) -> dict[str, Any]:
    """The call, and once more with a new draft where the one it names has left the box: nobody got anything then."""
    try:
        return wechat.call(path, payload)
    except WeChatError as error:
        article = content.get("article")
        if error.errcode != DRAFT_GONE or not article or not article.get("wire"):
            raise
    fresh = drafts.add(wechat, article["wire"])
    return wechat.call(path, {**payload, "mpnews": {"media_id": fresh}})


def _with_mass_video(wechat: WeChat, content: Mapping[str, Any]) -> Mapping[str, Any]:
    video = content.get("video")
    if not video:
        return content
    found = media.mass_video(
        wechat, media_id(video, "video"), video.get("title", ""), video.get("description", "")
    )
    return {"video": {"media_id": found}}


def _id(value: object) -> str | None:
    """A 64-bit id as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None
