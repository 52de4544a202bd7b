"""The account file's schema, and the checks that need nothing but the file.

Rules, segments, menus and campaigns are checked by the modules that own them; here is what holds
them together.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from bot.accounts import ALL_SEND_HOLD, APPROVE_ABOVE, GUARD_EVERY, OPT_OUT_WORDS, check_slug
from bot.as_code.reading import Problem, Source
from bot.campaigns.document import LARGEST_HOLDOUT, known_channel
from bot.content import Content
from bot.params import Name, Params, Seconds, Words

Json = dict[str, Any]
SECTIONS = ("tags", "scenes", "rules", "segments", "campaigns")  # lists whose items have names
SECRETS = ("app_secret", "token", "aes_key")
ALLOW = "allow_findings"  # of a campaign: why it goes in spite of what the content checks found
# Source: docs/wechat-limits.md 6: 100 tags an account, 30 bytes a name (the stricter reading)
SYNCED_TAGS, SYNCED_NAME_BYTES = 100, 30
SCENE_SECONDS = 2_592_000  # what a temporary QR code lives at most: 30 days


def _yes_or_no(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false (yes, no, on and off are texts in YAML 1.2)")


def _usable_slug(value: str) -> str:
    check_slug(value)
    return value


def _clock_span(value: str) -> str:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", value)
    if found is None:
        raise ValueError('must be a span of a day in quotes such as "22:00-08:00"')
    start = time(int(found[1]), int(found[2]))
    end = time(int(found[3]), int(found[4]))
    if start == end:
        raise ValueError("begins and ends at the same time")
    return f"{start:%H:%M}-{end:%H:%M}"


Flag = Annotated[StrictBool, BeforeValidator(_yes_or_no)]
Slug = Annotated[str, AfterValidator(_usable_slug)]
# the platform's scene_str is 1 to 64 characters; * is kept for patterns in rules
Scene = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-.:]{1,64}$")]
Whole = Annotated[int, Field(strict=True)]
MOST_PEOPLE = 2**31 - 1  # more than there are; what every database takes as a number


class FromEnvironment(Params):
    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


Secret = str | FromEnvironment


class Opening(Params):
    sent_to_all: Annotated[Whole, Field(ge=0, le=31)]


class AccountPart(Params):
    """Everything but the slug may be left out for an account that exists: what is not said stays."""

    slug: Slug
    name: Name | None = None
    kind: Literal["service", "subscription"] | None = None
    verified: Flag | None = None
    mode: Literal["plain", "compatible", "safe"] | None = None
    app_id: Annotated[str, StringConstraints(pattern=r"^wx[0-9a-zA-Z]{6,30}$")] | None = None
    app_secret: Secret | None = None
    token: Secret | None = None
    aes_key: Secret | None = None
    original_id: Annotated[str, StringConstraints(pattern=r"^(gh_[0-9a-zA-Z]{4,30})?$")] | None = (
        None
    )
    brand: Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)] | None = None
    opening: Opening | None = None


class TagPart(Params):
    name: Name
    was: Name | None = None
    family: Literal["客户信息", "价值", "消费互动", "营销互动"] = "营销互动"  # tags.DEFAULT_FAMILY
    sync: Flag = False
    expires_after_days: Annotated[Whole, Field(ge=1, le=3650)] | None = None

    @model_validator(mode="after")
    def _fits_the_platform(self) -> "TagPart":
        if self.sync and len(self.name.encode()) > SYNCED_NAME_BYTES:
            raise ValueError(
                f"a synced tag's name has at most {SYNCED_NAME_BYTES} bytes (about 10 Chinese characters)"
            )
        return self


class ScenePart(Params):
    key: Scene
    was: Scene | None = None
    name: Name
    group: Annotated[str, StringConstraints(max_length=60)] = ""
    permanent: Flag = True
    expire_seconds: Annotated[Whole, Field(ge=60, le=SCENE_SECONDS)] | None = None
    tags: Annotated[list[Name], Field(max_length=20)] = []
    reply: Content | None = None
    cost: Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_life(self) -> "ScenePart":
        if self.permanent and self.expire_seconds is not None:
            raise ValueError("expire_seconds is for scenes with permanent: false")
        return self


class SegmentPart(Params):
    name: Name
    was: Name | None = None
    where: Json


class PersonalMenu(Params):
    tag: Name
    menu: Annotated[list[Json], Field(min_length=1)]


class Cap(Params):
    messages: Annotated[Whole, Field(ge=1, le=1000)]
    days: Annotated[Whole, Field(ge=1, le=366)]


class ChannelCap(Cap):
    """Without a channel it counts all of them, without a class both."""

    channel: Annotated[str, AfterValidator(known_channel)] | None = None
    message_class: Literal["marketing", "service"] | None = None


class LimitsPart(Params):
    quiet_hours: Annotated[str, AfterValidator(_clock_span)] | None = None
    cap: Cap | None = None
    approve_above: Annotated[Whole, Field(ge=0, le=MOST_PEOPLE)] | None = None
    opt_out: Words | None = None
    holdout: (
        Annotated[float, Field(strict=True, ge=0, le=LARGEST_HOLDOUT, allow_inf_nan=False)] | None
    ) = None
    caps: Annotated[list[ChannelCap], Field(max_length=20)] | None = None
    person_cap: Cap | None = None
    most_people: Annotated[Whole, Field(ge=1, le=MOST_PEOPLE)] | None = None
    all_send_hold: Seconds | None = None
    guard: bool | None = None
    guard_every: Seconds | None = None


class Document(Params):
    version: Literal[1]
    account: AccountPart
    tags: list[TagPart] | None = None
    scenes: list[ScenePart] | None = None
    rules: list[Json] | None = None
    fallback: Json | None = None
    segments: list[SegmentPart] | None = None
    menu: list[Json] | None = None
    personal_menus: Annotated[list[PersonalMenu], Field(max_length=20)] | None = None
    limits: LimitsPart | None = None
    campaigns: list[Json] | None = None

    @field_validator("version", mode="before")
    @classmethod
    def _known_version(cls, value: Any) -> Any:
        if value != 1 or isinstance(value, bool):
            raise ValueError("this program reads version: 1")
        return value


@dataclass(frozen=True)
class Wanted:
    """What a file asks for, in the shape ``pull`` reads the database in. Lists keep the file's order.

    ``given`` names the top-level keys of the file; ``was`` maps (section, new name) to the old one.
    """

    account: Json
    secrets: Json
    opening: int | None
    given: frozenset[str]
    tags: dict[str, Json] = field(default_factory=dict)
    scenes: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, Json] = field(default_factory=dict)
    fallback: Json | None = None
    segments: dict[str, Json] = field(default_factory=dict)
    menu: list[Json] | None = None
    personal_menus: list[Json] | None = None
    limits: Json = field(default_factory=dict)
    campaigns: dict[str, Json] = field(default_factory=dict)
    was: Mapping[tuple[str, str], str] = field(default_factory=dict)
    allowed: Mapping[str, Any] = field(default_factory=dict)  # campaign -> why its content may go
    partial: bool = False  # sections that do not parse were left out


def parse(source: Source, environ: Mapping[str, str]) -> tuple[Wanted | None, list[Problem]]:
    """The document of a file that was read, and everything the file alone shows to be wrong.

    Sections, and keys of the account, that do not parse are left out, so that the others are checked
    too; without a slug there is no document.
    """
    problems: list[Problem] = []
    data = source.data
    left_out: set[int | str] = set()
    try:
        document = Document.model_validate(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        problems += [_problem(source, item) for item in wrong]
        left_out = {item["loc"][0] for item in wrong}
        of_account = {item["loc"][1:2] for item in wrong if item["loc"][0] == "account"}
        if "version" in left_out or of_account & {(), ("slug",)}:
            return None, problems
        left_out -= {"account"}
        data = {key: value for key, value in data.items() if key not in left_out}
        data["account"] = {k: v for k, v in data["account"].items() if (k,) not in of_account}
        document = Document.model_validate(data)
    problems += _repeats(source, document)
    secrets, more = _secrets(source, document.account, environ)
    problems += more
    synced = sum(tag.sync for tag in document.tags or [])
    if synced > SYNCED_TAGS:
        problems.append(
            source.problem(
                "tags", f"{synced} tags have sync: true; the platform keeps {SYNCED_TAGS}"
            )
        )
    for index, personal in enumerate(document.personal_menus or []):
        twice = [p.tag for p in (document.personal_menus or [])[:index] if p.tag == personal.tag]
        if twice:
            problems.append(
                source.problem(f"personal_menus.{index}.tag", f"a second menu for '{personal.tag}'")
            )
    return replace(_wanted(document, secrets), partial=bool(left_out)), problems


def _wanted(document: Document, secrets: Json) -> Wanted:
    account = document.account.model_dump(
        exclude_none=True, exclude={"opening", "app_secret", "token", "aes_key"}
    )
    if "mode" not in account and "aes_key" in secrets:
        account["mode"] = "safe"
    if "brand" in account:
        account["brand"] = account["brand"] or None  # an empty one takes it away
    return Wanted(
        account=account,
        secrets=secrets,
        opening=document.account.opening.sent_to_all if document.account.opening else None,
        given=frozenset(document.model_fields_set),
        tags={tag.name: tag_doc(tag.model_dump()) for tag in document.tags or []},
        scenes={scene.key: scene_doc(_scene_row(scene)) for scene in document.scenes or []},
        rules=_by_name(document.rules),
        fallback=document.fallback or None,
        segments=_by_name([s.model_dump() for s in document.segments or []]),
        menu=document.menu or None,
        personal_menus=[p.model_dump() for p in document.personal_menus or []] or None,
        limits=limits_said(document.limits) if document.limits is not None else {},
        campaigns=_by_name(document.campaigns),
        was=dict(_renames(document)),
        allowed={_name(item): item[ALLOW] for item in document.campaigns or [] if ALLOW in item},
    )


def tag_doc(row: Mapping[str, Any]) -> Json:
    """A tag as the file writes it; what is as by default is left out."""
    found: Json = {"name": row["name"], "family": row["family"]}
    if row["sync"]:
        found["sync"] = True
    if row["expires_after_days"]:
        found["expires_after_days"] = row["expires_after_days"]
    return found


def _scene_row(scene: ScenePart) -> Json:
    """As the table holds it: a reply without what is as by default."""
    reply = scene.reply
    kept = reply.model_dump(exclude_none=True, exclude_defaults=True) if reply else None
    return scene.model_dump() | {"reply": kept}


def scene_doc(row: Mapping[str, Any]) -> Json:
    """A scene as the file writes it."""
    found: Json = {"key": row["key"], "name": row["name"]}
    if row["group"]:
        found["group"] = row["group"]
    found["permanent"] = bool(row["permanent"])
    if not row["permanent"]:
        found["expire_seconds"] = row["expire_seconds"] or SCENE_SECONDS
    if row["tags"]:
        found["tags"] = list(row["tags"])
    if row["reply"]:
        found["reply"] = row["reply"]
    if row["cost"] is not None:
        found["cost"] = int(row["cost"]) if row["cost"] == int(row["cost"]) else row["cost"]
    return found


def limits_doc(stored: Mapping[str, Any]) -> Json:
    """Limits as the file writes them; what is as by default is left out."""
    found = {key: value for key, value in stored.items() if value is not None}
    if found.get("approve_above") == APPROVE_ABOVE:
        del found["approve_above"]
    if tuple(found.get("opt_out", ())) == OPT_OUT_WORDS:
        del found["opt_out"]
    if found.get("all_send_hold") == ALL_SEND_HOLD:
        del found["all_send_hold"]
    if found.get("guard") is True:
        del found["guard"]
    if found.get("guard_every") == GUARD_EVERY:
        del found["guard_every"]
    return {key: value for key, value in found.items() if value or key not in ("holdout", "caps")}


def limits_said(limits: LimitsPart) -> Json:
    """The limits a file or a program names; null takes one back to its default."""
    said = limits.model_dump(exclude_none=True)
    return {key: said.get(key) for key in sorted(limits.model_fields_set)}


def _name(item: Mapping[str, Any]) -> str:
    name = item.get("name")
    return name.strip() if isinstance(name, str) else ""


def _by_name(items: list[Json] | None) -> dict[str, Json]:
    """Items by name. A name that repeats (a problem by itself) keeps its position, so that lines stay right."""
    found: dict[str, Json] = {}
    for index, item in enumerate(items or []):
        name = _name(item)
        key = name if name and name not in found else f"{name} #{index}"
        found[key] = {key: value for key, value in item.items() if key not in ("was", ALLOW)}
    return found


def _items(document: Document) -> Iterable[tuple[str, int, str, Any]]:
    """(section, index, name, old name) of everything that is known by a name."""
    for section in SECTIONS:
        for index, item in enumerate(getattr(document, section) or []):
            if isinstance(item, dict):
                yield section, index, _name(item), item.get("was")
            else:
                yield section, index, item.key if section == "scenes" else item.name, item.was


def _renames(document: Document) -> Iterable[tuple[tuple[str, str], str]]:
    for section, _index, name, was in _items(document):
        if isinstance(was, str) and was and was != name:
            yield (section, name), was.strip()


def _repeats(source: Source, document: Document) -> Iterable[Problem]:
    seen: dict[tuple[str, str], int] = {}
    all_names = {(section, name) for section, _i, name, _w in _items(document)}
    for section, index, name, was in _items(document):
        place = f"{section}.{index}"
        if not name:
            yield source.problem(place, "needs a name")
            continue
        if len(name) > 60:
            yield source.problem(f"{place}.name", "the name has more than 60 characters")
        if (section, name) in seen:
            first = source.line(f"{section}.{seen[section, name]}")
            yield source.problem(place, f"a second '{name}', the first is in line {first}")
        seen.setdefault((section, name), index)
        if was is None:
            continue
        if not isinstance(was, str) or not was.strip():
            yield source.problem(f"{place}.was", "must be the old name")
        elif (section, was.strip()) in all_names and was.strip() != name:
            yield source.problem(f"{place}.was", f"'{was}' is itself named by the file")


def _secrets(
    source: Source, account: AccountPart, environ: Mapping[str, str]
) -> tuple[Json, list[Problem]]:
    found: Json = {}
    problems: list[Problem] = []
    for name in SECRETS:
        value = getattr(account, name)
        if value is None:
            continue
        place = f"account.{name}"
        if isinstance(value, FromEnvironment):
            if not environ.get(value.env, "").strip():
                problems.append(
                    source.problem(place, f"the environment variable {value.env} is not set")
                )
                continue
            value = environ[value.env].strip()
        wrong = secret_problem(name, value)
        if wrong:
            problems.append(source.problem(place, wrong))
        else:
            found[name] = value
    return found, problems


def secret_problem(name: str, value: str) -> str | None:
    """What is wrong with a secret, without repeating it."""
    if name == "aes_key" and not re.fullmatch(r"[A-Za-z0-9]{43}", value):
        return f"must have 43 letters and digits, this one has {len(value)} characters"
    if name == "token" and not re.fullmatch(r"[A-Za-z0-9]{3,32}", value):
        return "must have 3 to 32 letters and digits"
    if name == "app_secret" and not re.fullmatch(r"\S{8,128}", value):
        return "must have 8 to 128 characters without spaces"
    return None


def _problem(source: Source, item: Any) -> Problem:
    # a union names its branches in the path ("FromEnvironment", "str"): not places of the file
    parts = [str(part) for part in item["loc"] if str(part) not in ("str", "FromEnvironment")]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = f"'{parts[-1][:60]}' is not a known key here"
    elif item["type"] == "missing":
        message = f"'{parts[-1]}' is missing"
    elif item["type"] == "string_type" and isinstance(item.get("input"), int | float):
        message = "must be a text; put it in quotes"
    return source.problem(".".join(parts), message)
