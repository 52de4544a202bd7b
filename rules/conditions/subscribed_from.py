"""Somebody just followed, with this scene; an empty scene is any follow. ``*`` is captured."""

from functools import cached_property
from typing import Annotated

from pydantic import Field, StringConstraints

from bot.params import Params as Declared
from rules.facts import Facts
from rules.needs import KIND, SCENE, Needs
from rules.pattern import Glob, glob

NAME = "subscribed_from"
LABEL = {"zh": "关注来源", "en": "Followed from"}


class Params(Declared):
    scene: Annotated[
        str,
        StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_\-.:*]*$"),
        Field(json_schema_extra={"names": "scene"}),
    ] = ""

    @cached_property
    def glob(self) -> Glob:
        """The scene as it is compared: case counts."""
        return glob(self.scene, folded=False)


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    if facts.kind != "subscribe":
        return None
    if not params.scene:
        return {}
    return params.glob.captures(facts.scene) if facts.scene else None


def words(params: Params) -> Needs:
    return Needs(SCENE, (params.scene,)) if params.scene else Needs(KIND, ("subscribe",))
