"""The campaign document: what an account file, the wizard, the API and a plan say of one campaign. Pure.

``problems`` names everything wrong with one, ``parse`` gives its canonical form: what is as by default is
left out, so that writing back what was read changes nothing (docs/account-file.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from bot import content as contents
from bot import params, registry
from bot.campaigns.schedule import WEEKDAYS
from bot.errors import Invalid
from bot.params import (
    CampaignName,
    ClockTime,
    EventName,
    Moment,
    Name,
    Params,
    Seconds,
    SegmentName,
    TagName,
)

Json = dict[str, Any]
Content = Mapping[str, Any]
WebAddress = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"']+$", max_length=1024)]

# Template messages and subscription notices are service notices: marketing through them is punished by taking
# the interface away. Source: docs/wechat-limits.md 10 (read 2026-11).
SERVICE_ONLY = ("template", "subscription")
# Leaving out more than half measures a message that hardly anybody gets. Source: our choice.
LARGEST_HOLDOUT = 0.5
# Delivered per variant before any verdict; fewer decide by chance. Source: our choice.
MIN_SAMPLE = 400
RESULT_TAGS = ("clicked", "not_clicked", "gave_up")  # keys of ``after`` that name a tag
A_DAY = 86_400  # seconds
LARGEST_NUMBER = 2**31 - 1  # what a column of the database takes

# keys beyond the first ones, each a column of its own, in the order a file is written in
MORE = (
    "message_class", "groups", "contents", "experiment", "holdout", "pace", "follow_ups", "after", "brief", "worth",
)  # fmt: skip

Share = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Text = Annotated[str, StringConstraints(max_length=2000)]
ShortName = Annotated[Name, Field(max_length=20)]


def known_channel(name: str) -> str:
    """Raises ValueError where there is no such channel."""
    known = registry.members("bot.channels")
    if name not in known:
        raise ValueError(f"there is no channel '{name}'; there are {', '.join(sorted(known))}")
    return name


def _known_channels(names: list[str]) -> list[str]:
    for name in names:
        known_channel(name)
    if len(set(names)) < len(names):
        raise ValueError("a channel is named twice")
    return names


Channels = Annotated[list[str], Field(min_length=1), AfterValidator(_known_channels)]


class Repeat(Params):
    every: Literal["day", "week", "month"]
    on: list[str | int] = Field(default_factory=list, max_length=31)
    at: ClockTime

    @model_validator(mode="after")
    def _days_fit(self) -> "Repeat":
        if self.every == "day" and self.on:
            raise ValueError("on is for week and month; every day needs none")
        if self.every == "week" and (not self.on or not set(self.on) <= set(WEEKDAYS)):
            raise ValueError(f"on needs days of the week: {', '.join(WEEKDAYS)}")
        if self.every == "month" and (
            not self.on or not all(isinstance(day, int) and 1 <= day <= 31 for day in self.on)
        ):
            raise ValueError("on needs days of the month: 1 to 31")
        return self


class Goal(Params):
    """``guided``: clicked a link of the campaign. ``event``: did what the named event records."""

    metric: Literal["guided", "event"]
    target: int = Field(strict=True, ge=1, le=LARGEST_NUMBER)
    event: EventName | None = None

    @model_validator(mode="after")
    def _event_is_named(self) -> "Goal":
        if (self.metric == "event") != (self.event is not None):
            raise ValueError("metric event needs the name of the event, and guided has none")
        return self


class ApprovedFor(Params):
    people: int = Field(ge=1, le=LARGEST_NUMBER)
    slots: int = Field(ge=0, le=LARGEST_NUMBER)


class Group(Params):
    """A part of the audience with an expected 导量率 of its own. Who is in two belongs to the first."""

    name: ShortName
    segment: SegmentName
    rate: Rate | None = None


class Variant(Params):
    """One arm: of ``content`` what it says, of ``hour`` when it is sent."""

    name: ShortName
    content: dict[str, Any] | None = None
    at: ClockTime | None = None


class Experiment(Params):
    """What is tested, on whom, and how it is decided.

    No bandit of hours: it sends more of what did better to those who come next, and within a run nobody comes next.
    Every hour is one part of one day; when the noon's clicks are known the noon is over, and shares drawn from
    them would be of the evening alone. Spread over days, an hour with a larger share of a good day would look
    better than it is. A ``test_share`` does what is wanted: the rest goes at the hour that won.
    """

    of: Literal["content", "hour"]
    variants: Annotated[list[Variant], Field(min_length=2, max_length=8)]
    channels: Channels | None = None  # default: all without content of their own
    shares: list[Share] | None = None  # default: equal
    test_share: Share = 1.0
    decide_after: Seconds = A_DAY
    min_sample: Annotated[Whole, Field(ge=1, le=1_000_000)] = MIN_SAMPLE
    winner: Literal["auto", "manual"] = "auto"
    bandit: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> "Experiment":
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have one name")
        wanted, other = ("content", "at") if self.of == "content" else ("at", "content")
        for variant in self.variants:
            if getattr(variant, wanted) is None:
                raise ValueError(f"variant {variant.name} needs {wanted}")
            if getattr(variant, other) is not None:
                raise ValueError(f"variant {variant.name} has {other}, which is not tested")
        if self.shares is not None:
            if len(self.shares) != len(names):
                raise ValueError("shares needs one number for each variant")
            if abs(sum(self.shares) - 1) > 0.001:
                raise ValueError("shares must sum to 1")
        if self.bandit and self.test_share < 1:
            raise ValueError("bandit goes on to the end; it has no test_share")
        if self.bandit and self.of == "hour":
            raise ValueError(
                "bandit learns from part to part, and each hour is one part: test a share of hours"
            )
        return self


class Pace(Params):
    batches: Annotated[Whole, Field(ge=2, le=100)]
    every: Seconds


class FollowUp(Params):
    """Wave 2, 3 …: sent so long after the one before, to those it did not move."""

    after: Seconds
    to: Literal["not_clicked", "not_converted"] = "not_clicked"
    channels: Channels
    content: dict[str, Any] | None = None  # default: what the campaign says on that channel


class After(Params):
    """Tags by result, given once ``wait`` has passed."""

    wait: Seconds = 3 * A_DAY
    clicked: TagName | None = None
    not_clicked: TagName | None = None
    gave_up: TagName | None = None


class Brief(Params):
    """The five factors and the words of the plan document. A key of its own is one more text."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Text] = Field(init=False)

    participation: Text | None = None
    benefit: Text | None = None
    strength: Text | None = None
    time: Text | None = None
    path: Text | None = None
    burst: bool | None = None
    persona: Text | None = None
    need: Text | None = None
    form: Text | None = None
    stage: Text | None = None
    product: Text | None = None
    owner: Text | None = None
    monitoring: Annotated[list[Text], Field(max_length=50)] = []
    meaning: Text | None = None
    similar: Annotated[list[CampaignName], Field(max_length=50)] = []
    expected: Text | int | float | None = None


class Worth(Params):
    """For dividing the month's slots. ``protect``: its slots are held against other campaigns."""

    click: Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    protect: bool = False


class Definition(Params):
    name: CampaignName
    segment: SegmentName | None = None
    at: Moment | None = None
    repeat: Repeat | None = None
    channels: Channels
    content: dict[str, Any]
    links: dict[Name, WebAddress] = Field(default_factory=dict)
    goal: Goal | None = None
    message_class: Literal["marketing", "service"] = "marketing"
    groups: Annotated[list[Group], Field(min_length=1, max_length=20)] | None = None
    contents: dict[str, dict[str, Any]] = Field(default_factory=dict)
    experiment: Experiment | None = None
    holdout: Annotated[float, Field(strict=True, ge=0, le=LARGEST_HOLDOUT, allow_inf_nan=False)] = (
        0.0
    )
    pace: Pace | None = None
    follow_ups: Annotated[list[FollowUp], Field(max_length=5)] = []
    after: After | None = None
    brief: Brief | None = None
    worth: Worth | None = None
    approved_for: ApprovedFor | None = None
    status: Literal["draft", "scheduled"] = "draft"

    @model_validator(mode="after")
    def _one_time(self) -> "Definition":
        if (self.at is None) == (self.repeat is None):
            raise ValueError("needs exactly one of at and repeat")
        return self

    @model_validator(mode="after")
    def _one_audience(self) -> "Definition":
        if (self.segment is None) == (self.groups is None):
            raise ValueError("needs exactly one of segment and groups")
        return self


def problems(document: Any, place: str = "") -> list[tuple[str, str]]:
    """Every problem of one campaign as (dotted place, sentence)."""
    found = params.problems(Definition, document, place)
    if isinstance(found, list):
        return found
    return [*_unfit(found, place), *_wrong_contents(found, place)]


def check_shape(document: Any) -> None:
    """Whether every part that is there is of its kind: a text, a number, a list. An unfinished document may miss any.

    Raises:
        Invalid: one is not.
    """
    try:
        Definition.model_validate(document)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            if item["type"].endswith("_type"):
                raise Invalid(".".join(map(str, item["loc"])), item["msg"]) from None


def parse(document: Any, place: str = "") -> Json:
    """One campaign in canonical form.

    Raises:
        Invalid: the first of ``problems``.
    """
    wrong = problems(document, place)
    if wrong:
        raise Invalid(*wrong[0])
    definition = Definition.model_validate(document)
    found: Json = definition.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
    )
    for key in MORE:
        if key in found and not found[key]:
            del found[key]  # an empty part says as much as none
    for path, said, channels in _said(definition):
        inner: Any = found
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = _content(said, ".".join(str(part) for part in path), channels)
    found["status"] = definition.status
    return found


def experiment_channels(
    channels: Sequence[str], own: Mapping[str, Any] | None, experiment: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Channels an experiment varies: those it names, else all without content of their own (``contents``)."""
    if not experiment:
        return ()
    named = experiment.get("channels")
    return tuple(named if named else [name for name in channels if name not in (own or {})])


def contents_of(document: Mapping[str, Any]) -> Iterator[tuple[Content, Sequence[str]]]:
    """Every content of a campaign in canonical form, with the channels that say it."""
    for _path, said, channels in _said(Definition.model_validate(document)):
        yield said, channels


def _unfit(found: Definition, place: str) -> Iterator[tuple[str, str]]:
    """What fits the schema but not the rest of the document."""
    names = [group.name for group in found.groups or ()]
    if len(set(names)) < len(names):
        yield _at(place, "groups"), "two groups have one name"
    for name in found.contents:
        if name not in found.channels:
            yield _at(place, f"contents.{name}"), f"'{name}' is not among the channels"
    if found.experiment is not None:
        tested = _tested(found)
        for name in tested:
            if name not in found.channels:
                yield _at(place, "experiment.channels"), f"'{name}' is not among the channels"
        if not tested:
            yield (
                _at(place, "experiment.channels"),
                "every channel has content of its own: name the channels that are tested",
            )
        if found.experiment.of == "hour" and found.pace is not None:
            yield _at(place, "pace"), "an experiment of hours says itself when its parts are sent"
    used = {*found.channels, *(name for step in found.follow_ups for name in step.channels)}
    for name in SERVICE_ONLY:
        if name in used and found.message_class != "service":
            yield (
                _at(place, "message_class"),
                f"{name} is for service notices only: marketing through it is punished by the platform; "
                "say message_class: service if this is one, else leave the channel out",
            )
    for index, step in enumerate(found.follow_ups):
        if step.to == "not_converted" and found.goal is None:
            yield _at(place, f"follow_ups.{index}.to"), "not_converted needs a goal"


def _wrong_contents(found: Definition, place: str) -> Iterator[tuple[str, str]]:
    known = registry.members("bot.channels")
    for path, said, channels in _said(found):
        here = _at(place, ".".join(str(part) for part in path))
        try:
            checked = _content(said, here, channels)
        except Invalid as problem:
            yield problem.field, problem.message
            continue
        yield from _kinds(known, contents.kind_of(checked), channels, here)
        for name in sorted(contents.link_names(checked) - set(found.links)):
            yield here, f"{{link:{name}}} is not among the links"
    for index, step in enumerate(found.follow_ups):
        if step.content is None:
            here = _at(place, f"follow_ups.{index}.channels")
            for name in step.channels:
                said = found.contents.get(name, found.content)
                if len(said) == 1:  # else it was named above
                    yield from _kinds(known, contents.kind_of(said), [name], here)


def _kinds(
    known: Mapping[str, Any], kind: str, channels: Sequence[str], here: str
) -> Iterator[tuple[str, str]]:
    for name in channels:
        if name in known and kind not in known[name].CONTENT_KINDS:
            yield here, f"{kind} cannot be sent by {name}"


def _said(found: Definition) -> Iterator[tuple[tuple[str | int, ...], Content, Sequence[str]]]:
    """Every content of a campaign: where it stands, what it says, and the channels that say it."""
    default = [name for name in found.channels if name not in found.contents]
    yield ("content",), found.content, default
    for name, said in found.contents.items():
        yield ("contents", name), said, [name]
    if found.experiment is not None:
        for index, variant in enumerate(found.experiment.variants):
            if variant.content is not None:
                path = ("experiment", "variants", index, "content")
                yield path, variant.content, _tested(found)
    for index, step in enumerate(found.follow_ups):
        if step.content is not None:
            yield ("follow_ups", index, "content"), step.content, step.channels


def _tested(found: Definition) -> tuple[str, ...]:
    named = found.experiment.model_dump() if found.experiment else None
    return experiment_channels(found.channels, found.contents, named)


def _content(said: Content, place: str, channels: Sequence[str]) -> Json:
    uses = {use for allowed in contents.ALLOWED_AS.values() for use in allowed}
    return contents.parse(said, place, tuple(name for name in channels if name in uses))


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
