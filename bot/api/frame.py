"""The table of endpoints. A function's signature is its declaration: path parameters, query, body and answer.

``query`` and ``body`` are pydantic models, the returned model is the answer, other parameters come
from the path. A function that takes ``session`` is handed one transaction, a writing one unless it
only reads, in which an answer to be repeated is stored too.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter, WithJsonSchema

from bot import operators
from bot.accounts import Account
from bot.clock import local
from bot.db import Session
from bot.runtime import Runtime
from bot.secrets import short
from bot.tokens import Bearer

PREFIX = "/api/v1"
ACCOUNT = "/accounts/<slug>"
OPEN_ID = "followers.open_id"
WORDS = "messages.read"  # what somebody said, word for word
MOST = 200  # entries of one page of a list
READING = ("GET", "HEAD")


class Asked(BaseModel):
    """The base of what programs send: no key that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Told(BaseModel):
    """The base of what they are answered."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


When = Annotated[
    datetime,
    PlainSerializer(lambda moment: local(moment).isoformat(), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
# the largest id a row may have: a bigger number is no row, and no driver takes it
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]
# far enough from the ends of the calendar that any span and any clock can be counted from it
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(9000, 1, 1))]
Limit = Annotated[int, Field(ge=1, le=MOST, description="entries of a page, at most 200")]
Cursor = Annotated[
    str, Field(max_length=500, description="where the page begins: `next` of the page before")
]


Json = dict[str, Any]


def component(name: str) -> WithJsonSchema:
    """A schema that ``document`` makes, named here: pydantic would not know it."""
    return WithJsonSchema({"x-component": name})


RuleBody = Annotated[Json, component("Rule")]
FallbackBody = Annotated[Json, component("Fallback")]
ContentBody = Annotated[Json, component("Content")]


class Page(Asked):
    """The query of every list."""

    limit: Limit = 50
    cursor: Cursor | None = None


class Nothing(Told):
    """An empty object: it was done."""


@dataclass(frozen=True)
class Call:
    """One request, known and allowed. ``path`` names the list a cursor belongs to."""

    rt: Runtime
    bearer: Bearer
    now: datetime
    language: str
    path: str = ""
    found: Account | None = None

    @property
    def account(self) -> Account:
        """The account in the path."""
        assert self.found is not None
        return self.found

    @property
    def by(self) -> str:
        """The name changes are written down under."""
        return f"api:{self.bearer.token.name}"

    def may(self, right: str) -> bool:
        return right in self.bearer.scopes

    def open_id(self, open_id: str | None) -> str | None:
        """Whole with the scope ``followers.open_id``, else shortened."""
        if open_id is None:
            return None
        return open_id if self.may(OPEN_ID) else short(open_id)

    def audit(
        self, session: Session, action: str, thing: str, *, before: Any = None, after: Any = None
    ) -> None:
        """One row, in the transaction of the change."""
        operators.audit(
            session,
            action,
            thing,
            operator=self.by,
            now=self.now,
            account_id=self.found.id if self.found is not None else None,
            before=before,
            after=after,
        )


@dataclass(frozen=True)
class File:
    """An answer that is no JSON: a picture."""

    data: bytes
    content_type: str


@dataclass(frozen=True)
class Endpoint:
    """One line of the table. ``right`` None: any token. ``refusals``: further answers it may give."""

    name: str
    method: str
    path: str
    right: str | None
    area: str
    summary: str
    description: str
    function: Callable[..., Any]
    status: int
    parameters: Mapping[str, TypeAdapter[Any]]
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    answer: Any
    session: bool
    files: tuple[str, ...] = ()
    calls_platform: bool = False

    @property
    def reads(self) -> bool:
        return self.method in READING

    @property
    def of_account(self) -> bool:
        return self.path.startswith(ACCOUNT)


ENDPOINTS: list[Endpoint] = []


@dataclass(frozen=True)
class Area:
    """A group of endpoints with a name for people; all of one module."""

    name: str
    label: str
    under: str = ACCOUNT

    def __call__(
        self,
        method: str,
        path: str,
        right: str | None,
        *,
        status: int = 200,
        files: tuple[str, ...] = (),
        calls_platform: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Put a function into the table."""

        def put(function: Callable[..., Any]) -> Callable[..., Any]:
            hints = get_type_hints(function, include_extras=True)
            answer = hints.pop("return")
            told = inspect.getdoc(function) or function.__name__
            summary, _, more = told.partition("\n")
            special = ("call", "session", "query", "body")
            ENDPOINTS.append(
                Endpoint(
                    name=function.__name__,
                    method=method,
                    path=self.under + path,
                    right=right,
                    area=self.name,
                    summary=summary.strip().rstrip("."),
                    description=more.strip(),
                    function=function,
                    status=status,
                    parameters={
                        key: TypeAdapter(hints[key]) for key in hints if key not in special
                    },
                    query=hints.get("query"),
                    body=hints.get("body"),
                    answer=answer,
                    session="session" in hints,
                    files=files,
                    calls_platform=calls_platform,
                )
            )
            return function

        AREAS.setdefault(self.name, self.label)
        return put


AREAS: dict[str, str] = {}
