"""Has a tag, one of several, or none of several. A tag that expired but was not swept yet does not count."""

from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from pydantic import model_validator

from bot.audiences.filters._shared import Resolve, exactly_one, quoted
from bot.params import Params as Base
from bot.params import TagName, TagNames
from bot.tables.followers import follower_tags, followers, tags

NAME = "tag"
LABEL = {"zh": "标签", "en": "Tag"}
ALTERNATIVES = (("has",), ("any",), ("lacks",))


class Params(Base):
    has: TagName | None = None
    any: TagNames | None = None
    lacks: TagNames | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, "has", "any", "lacks")
        return self


def where(
    params: Params, account_id: int, now: datetime, resolve: Resolve
) -> sa.ColumnElement[bool]:
    if params.lacks is not None:
        return sa.not_(_has_one(account_id, params.lacks, now))
    return _has_one(account_id, [params.has] if params.has else params.any or [], now)


def sentence(params: Params) -> str:
    if params.lacks is not None:
        return f"没有标签{quoted(params.lacks)}"
    if params.has is not None:
        return f"有标签{quoted([params.has])}"
    return f"有标签{quoted(params.any or [])}之一"


def rewritten(params: Params) -> dict[str, Any] | None:
    """Several tags are each tag's set: a set a tag serves every segment."""
    if params.lacks is not None:
        return {"not": {"any": [{"tag": {"has": name}} for name in params.lacks]}}
    if params.any is not None:
        return {"any": [{"tag": {"has": name}} for name in params.any]}
    return None


def ids(params: Params, account_id: int, now: datetime) -> sa.Select[Any]:
    """Who has the tag, from the index of tags."""
    meant = sa.select(tags.c.id).where(tags.c.account_id == account_id, tags.c.name == params.has)
    return sa.select(follower_tags.c.follower_id).where(
        follower_tags.c.tag_id.in_(meant),
        sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
    )


def _has_one(account_id: int, names: list[str], now: datetime) -> sa.ColumnElement[bool]:
    meant = sa.select(tags.c.id).where(tags.c.account_id == account_id, tags.c.name.in_(names))
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(follower_tags)
        .where(
            follower_tags.c.follower_id == followers.c.id,
            follower_tags.c.account_id == account_id,
            follower_tags.c.tag_id.in_(meant),
            sa.or_(follower_tags.c.expires_at.is_(None), follower_tags.c.expires_at > now),
        )
        .correlate(followers)
    )
