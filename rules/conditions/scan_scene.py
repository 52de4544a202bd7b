"""A parameter QR code was scanned, by a follower or by somebody who follows with it. ``*`` is captured."""

from functools import cached_property

from bot.params import Params as Declared
from bot.params import SceneKey
from rules.facts import Facts
from rules.needs import SCENE, Needs
from rules.pattern import Glob, glob

NAME = "scan_scene"
LABEL = {"zh": "扫描渠道二维码", "en": "Scan of a scene"}


class Params(Declared):
    scene: SceneKey

    @cached_property
    def glob(self) -> Glob:
        """The scene as it is compared: case counts."""
        return glob(self.scene, folded=False)


def matches(params: Params, facts: Facts) -> dict[str, str] | None:
    if facts.kind not in ("scan", "subscribe") or not facts.scene:
        return None
    return params.glob.captures(facts.scene)


def words(params: Params) -> Needs:
    return Needs(SCENE, (params.scene,))
