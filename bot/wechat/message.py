"""One push after verifying and parsing: a frozen Message with our own kind names. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# our name for what the platform calls MsgType and Event; events are compared in lower case, because
# documentation and wire differ. Source: docs/wechat-limits.md 2 (read 2026-11)
MESSAGE_KINDS = {
    "text": "text",
    "image": "image",
    "voice": "voice",
    "video": "video",
    "shortvideo": "short_video",
    "location": "location",
    "link": "link",
}
EVENT_KINDS = {
    "subscribe": "subscribe",
    "unsubscribe": "unsubscribe",
    "scan": "scan",
    "location": "location_report",
    "click": "menu_click",
    "view": "menu_view",
    "view_miniprogram": "menu_mini_program",
    "scancode_push": "scancode_push",
    "scancode_waitmsg": "scancode_wait",
    "pic_sysphoto": "picture_camera",
    "pic_photo_or_album": "picture_album",
    "pic_weixin": "picture_wechat",
    "location_select": "location_select",
    "templatesendjobfinish": "template_finished",
    "masssendjobfinish": "mass_finished",
    # documented under the first name, seen under the second and even as MASSSENDJOBFINISH
    "publishjobfinish": "publish_finished",
    "freepublishjobfinish": "publish_finished",
    "subscribe_msg_popup_event": "subscription_popup",
    "subscribe_msg_change_event": "subscription_changed",
    "subscribe_msg_sent_event": "subscription_sent",
    "kf_create_session": "agent_session_opened",
    "kf_close_session": "agent_session_closed",
    "kf_switch_session": "agent_session_switched",
    "user_info_modified": "authorisation_modified",
    "user_authorization_revoke": "authorisation_revoked",
    "user_authorization_cancellation": "authorisation_cancelled",
    "qualification_verify_success": "verification",
    "qualification_verify_fail": "verification",
    "naming_verify_success": "verification",
    "naming_verify_fail": "verification",
    "annual_renew": "verification",
    "verify_expired": "verification",
}
UNKNOWN = "unknown"
MAX_OPEN_ID = 128  # characters; an OpenID has 28
# the platform's scenes have 1 to 64; a forged longer one must not be too long for the indexes scenes stand in
SCENE_CHARACTERS = 200
MAX_KEY = 512  # characters, at most 4 bytes each
# FromUserName of these is the platform's or an administrator's name: no follower is made of them
FROM_PLATFORM = frozenset(
    {
        "mass_finished",
        "template_finished",
        "publish_finished",
        "authorisation_modified",
        "authorisation_revoked",
        "authorisation_cancelled",
        "verification",
    }
)


@dataclass(frozen=True, slots=True)
class Message:
    """A verified push. ``fields`` are the XML elements as text, nested ones as mappings and lists.

    ``sent_at`` is CreateTime, or the moment of receipt where that is missing or odd.
    """

    kind: str
    open_id: str
    to: str
    sent_at: datetime
    fields: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        """One field as text: "" where it is missing, empty or not a plain value."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str) -> int | None:
        """One field as a whole number, None where it is missing or is none."""
        value = self.text(name).strip()
        digits = value[1:] if value.startswith("-") else value
        return int(value) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None

    @property
    def scene(self) -> str:
        """The QR scene of a scan, or of a follow that came from one; "" otherwise.

        Source: docs/wechat-limits.md 2: subscribe carries ``qrscene_`` + scene, SCAN the bare scene.
        """
        key = self.text("EventKey")
        if self.kind == "scan":
            return key[:SCENE_CHARACTERS]
        if self.kind == "subscribe" and key.startswith("qrscene_"):
            return key.removeprefix("qrscene_")[:SCENE_CHARACTERS]
        return ""

    def dedupe_key(self, account_id: int) -> str:
        """What makes a repeated push the same push.

        Source: docs/wechat-limits.md 1: MsgId for messages (here with the OpenID, MsgId alone has
        collided), FromUserName + CreateTime for events (here with event and key: two can share a
        second), and the job's own id for job results.
        """
        return _bounded(self._dedupe_key(account_id), MAX_KEY)

    def _dedupe_key(self, account_id: int) -> str:
        job = self._job_id()
        if job:
            return f"{account_id}:{self.kind}:{job}"
        message_id = self.text("MsgId")
        if message_id and self.text("MsgType").lower() != "event":
            return f"{account_id}:{self.open_id}:{message_id}"
        event = self.text("Event").lower() or self.text("MsgType").lower()
        detail = self.text("EventKey") or self.text("OpenID") or self.text("openid")
        return f"{account_id}:{self.open_id}:{self.text('CreateTime')}:{event}:{detail}"

    def _job_id(self) -> str:
        if self.kind in ("mass_finished", "template_finished"):
            return self.text("MsgID") or self.text("MsgId")
        if self.kind == "publish_finished":
            info = self.fields.get("PublishEventInfo")
            return str(info.get("publish_id") or "") if isinstance(info, Mapping) else ""
        if self.kind == "subscription_sent":
            info = self.fields.get("SubscribeMsgSentEvent", self.fields)
            rows = info.get("List") if isinstance(info, Mapping) else None
            row = rows[0] if isinstance(rows, list) and rows else rows
            return str(row.get("MsgID") or "") if isinstance(row, Mapping) else ""
        return ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as the inbox stores it."""
        return {
            "kind": self.kind,
            "open_id": self.open_id,
            "to": self.to,
            "sent_at": self.sent_at.isoformat(),
            "fields": dict(self.fields),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Message":
        """The message ``to_json`` wrote."""
        return cls(
            kind=value["kind"],
            open_id=value["open_id"],
            to=value["to"],
            sent_at=datetime.fromisoformat(value["sent_at"]),
            fields=value["fields"],
        )


def from_fields(fields: Mapping[str, Any], received_at: datetime) -> Message:
    """A Message of parsed elements. Whatever is odd or missing is taken as empty: every verified push is kept."""

    created = _plain(fields, "CreateTime")
    sent_at = received_at
    # 253402300799 is the last second of the year 9999
    if created.isascii() and created.isdigit():
        seconds = int(created[:13])
        if seconds <= 253_402_300_799:
            sent_at = datetime.fromtimestamp(seconds, UTC)
    platform_kind = _plain(fields, "MsgType").lower()
    if platform_kind == "event":
        kind = EVENT_KINDS.get(_plain(fields, "Event").lower(), UNKNOWN)
    else:
        kind = MESSAGE_KINDS.get(platform_kind, UNKNOWN)
    open_id = _bounded(_plain(fields, "FromUserName"), MAX_OPEN_ID)
    return Message(kind, open_id, _plain(fields, "ToUserName"), sent_at, fields)


def _bounded(text: str, most: int) -> str:
    """A text for a unique key: PostgreSQL's index takes 2,700 bytes, so what is too long becomes its hash."""
    if len(text) <= most:
        return text
    return f"{text[:40]}…{hashlib.sha256(text.encode()).hexdigest()}"


def _plain(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value.strip() if isinstance(value, str) else ""
