"""Where messages of the channel `webhook` go: an SMS gateway or another system of the brand's own."""

from typing import Annotated

from pydantic import Field

from bot import outgoing
from bot.api.door import needs
from bot.api.frame import OPEN_ID, Area, Asked, Call, Nothing, Told
from bot.api.problems import found
from bot.db import Session
from bot.outgoing import MOST_FIELDS, MOST_TOGETHER, Outgoing

area = Area("outgoing", "Messages to other systems · 短信等其他系统")
FieldName = Annotated[str, Field(min_length=1, max_length=60)]


class OutgoingTold(Told):
    url: str
    together: int = Field(description="messages a request")
    open_id: bool = Field(description="whether messages hold the whole OpenID")
    fields: list[str] = Field(description="which of the follower's fields are told")


class OutgoingKept(OutgoingTold):
    secret: str | None = Field(
        description="signs what is sent, where it was made just now; shown this once"
    )


class OutgoingWanted(Asked):
    url: str = Field(
        min_length=1, max_length=2000, description="http or https, not inside a private network"
    )
    together: int = Field(1, ge=1, le=MOST_TOGETHER)
    open_id: bool = Field(False, description="needs the scope `followers.open_id`")
    fields: list[FieldName] = Field(
        [], max_length=MOST_FIELDS, description="names of fields, such as that of a phone number"
    )


class OutgoingSecret(Told):
    secret: str


@area("GET", "/outgoing", "webhooks.write")
def outgoing_get(call: Call, session: Session) -> OutgoingTold:
    """Where messages go. The secret is not told again."""
    return _told(_found(call, session))


@area("PUT", "/outgoing", "webhooks.write")
def outgoing_update(call: Call, session: Session, body: OutgoingWanted) -> OutgoingKept:
    """Say where messages go. The first time a secret is made; whoever lost it makes another."""
    before = outgoing.get(session, call.account.id)
    if body.open_id and not (
        before is not None and before.open_id and before.url == body.url.strip()
    ):
        needs(call.bearer, OPEN_ID)
    secret = outgoing.save(
        session,
        call.account.id,
        url=body.url,
        together=body.together,
        open_id=body.open_id,
        fields=body.fields,
        by=call.by,
        secret_key=call.rt.secret_key,
        now=call.now,
    )
    after = _told(_found(call, session))
    call.audit(
        session,
        "outgoing.change",
        f"account:{call.account.slug}",
        before=_told(before).model_dump() if before is not None else None,
        after=after.model_dump(),
    )
    return OutgoingKept(**after.model_dump(), secret=secret)


@area("DELETE", "/outgoing", "webhooks.write")
def outgoing_delete(call: Call, session: Session) -> Nothing:
    """Messages go nowhere any more; those that wait fail at their turn."""
    before = _found(call, session)
    outgoing.remove(session, call.account.id)
    call.audit(
        session, "outgoing.remove", f"account:{call.account.slug}", before={"url": before.url}
    )
    return Nothing()


@area("POST", "/outgoing/rotate", "webhooks.write")
def outgoing_rotate(call: Call, session: Session) -> OutgoingSecret:
    """A new secret; the old one signs nothing any more."""
    _found(call, session)
    secret = outgoing.rotate(
        session, call.account.id, by=call.by, secret_key=call.rt.secret_key, now=call.now
    )
    call.audit(session, "outgoing.rotate", f"account:{call.account.slug}")
    return OutgoingSecret(secret=secret)


def _found(call: Call, session: Session) -> Outgoing:
    return found(outgoing.get(session, call.account.id))


def _told(one: Outgoing) -> OutgoingTold:
    return OutgoingTold(
        url=one.url, together=one.together, open_id=one.open_id, fields=list(one.fields)
    )
