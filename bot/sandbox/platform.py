"""The platform as one object: accounts, followers, faults, time. Tests and the server hold one."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.clock import Clock, parse_moment
from bot.sandbox import accounts, acts, api_notices, faults, mass_jobs, people, pushes, tokens
from bot.sandbox.accounts import Account
from bot.sandbox.world import Deliver, World

Result = dict[str, Any]


class Platform(World):
    """WeChat in one SQLite file. Acts return ``{"outcome", "why", "attempts", "reply"}``."""

    def __init__(
        self,
        path: str,
        clock: Clock | None = None,
        deliver: Deliver | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        """``path`` may be ``:memory:``; a clock that was moved by ``set_clock`` comes back with the file."""
        super().__init__(path, clock or Clock(), deliver, pause)
        if clock is None:
            self._restore_clock()

    # accounts

    def add_account(
        self,
        app_id: str,
        app_secret: str,
        token: str,
        aes_key: str | None = None,
        original_id: str = "gh_sandbox00000",
        kind: str = "service",
        verified: bool = True,
        callback_url: str | None = None,
        mode: str = "safe",
        options: Mapping[str, Any] | None = None,
    ) -> Account:
        """Add an account or replace its settings. Raises: ValueError."""
        return accounts.add(
            self.store,
            {
                "app_id": app_id,
                "app_secret": app_secret,
                "token": token,
                "aes_key": aes_key,
                "original_id": original_id,
                "kind": kind,
                "verified": verified,
                "callback_url": callback_url,
                "mode": mode,
                "options": dict(options or {}),
            },
        )

    def account(self, app_id: str) -> Account:
        """Raises: KeyError."""
        return accounts.get(self.store, app_id)

    def change_account(self, app_id: str, **values: Any) -> Account:
        """Change single settings, such as ``callback_url``, ``mode`` or ``options`` (merged)."""
        return accounts.change(self.store, app_id, **values)

    def verify_url(self, app_id: str) -> bool:
        """Whether the callback answers the console's GET."""
        return pushes.verify_url(self, self.account(app_id))

    # followers

    def add_followers(self, app_id: str, people_: Iterable[Mapping[str, Any]]) -> int:
        """Followers from before, in bulk and without pushes; see people.add_many."""
        return people.add_many(self, self.account(app_id), people_)

    def set_followers(self, app_id: str, open_ids: Iterable[str], **values: Any) -> None:
        """For example ``refuses=True``. Raises: ValueError."""
        people.set_state(self, self.account(app_id), open_ids, values)

    def set_counts(self, app_id: str, month: str, counts: Mapping[str, int]) -> None:
        people.set_counts(self, self.account(app_id), month, counts)

    def follow(
        self, app_id: str, open_id: str, scene: str | None = None, source: str | None = None
    ) -> Result:
        return acts.follow(self, app_id, open_id, scene, source)

    def scan(self, app_id: str, open_id: str, scene: str) -> Result:
        return acts.scan(self, app_id, open_id, scene)

    def say(self, app_id: str, open_id: str, text: str, menu_item: str | None = None) -> Result:
        return acts.say(self, app_id, open_id, text, menu_item)

    def allow(self, app_id: str, open_id: str, template_id: str, accept: bool = True) -> Result:
        """Accept or reject notices of a template, as in an article or on a page, with its push."""
        return acts.allow(self, app_id, open_id, template_id, accept)

    def message(self, app_id: str, open_id: str, kind: str, **fields: Any) -> Result:
        """A message of any kind with the platform's own element names."""
        return acts.message(self, app_id, open_id, kind, **fields)

    def event(self, app_id: str, open_id: str, name: str, **fields: Any) -> Result:
        """Any event with the platform's own element names."""
        return acts.event(self, app_id, open_id, name, **fields)

    def tap(self, app_id: str, open_id: str, key: str, kind: str | None = None) -> Result:
        return acts.tap(self, app_id, open_id, key, kind)

    def view(self, app_id: str, open_id: str, url: str) -> Result:
        return acts.view(self, app_id, open_id, url)

    def leave(self, app_id: str, open_id: str) -> Result:
        return acts.leave(self, app_id, open_id)

    def accept_notices(self, app_id: str, open_id: str, template_id: str, times: int = 1) -> None:
        """The follower allows so many more subscription notices of a template."""
        api_notices.accept(self, self.account(app_id).id, open_id, template_id, times)

    def received(self, app_id: str, open_id: str, after_id: int = 0) -> list[Result]:
        return people.received(self, self.account(app_id), open_id, after_id)

    def mass_count(self, app_id: str, open_id: str, month: str) -> int:
        return people.mass_count(self, self.account(app_id), open_id, month)

    def mass_counts(self, app_id: str, month: str) -> dict[str, int]:
        return people.counts(self, self.account(app_id), month)

    def histogram(self, app_id: str, month: str) -> dict[int, int]:
        return people.histogram(self, self.account(app_id), month)

    def stats(self, app_id: str) -> Result:
        return people.stats(self, self.account(app_id))

    def refused(self, app_id: str | None = None) -> list[Result]:
        return people.refused(self, self.account(app_id) if app_id else None)

    # the platform's own side

    def site_send(
        self,
        app_id: str,
        text: str,
        open_ids: list[str] | None = None,
        tag_id: int | None = None,
    ) -> int:
        """A mass send made by hand on the platform's site; its msg_id."""
        body = {"type": "text", "text": text}
        return mass_jobs.from_the_site(self, self.account(app_id), body, open_ids, tag_id)

    def kill_tokens(self, app_id: str) -> int:
        """Every token of the account answers 40001 from now on."""
        return tokens.kill(self, self.account(app_id))

    def fault(
        self,
        path: str,
        kind: str,
        times: int | None = 1,
        *,
        app_id: str | None = None,
        errcode: int | None = None,
        seconds: float | None = None,
        after: bool | None = None,
        probability: float = 1.0,
    ) -> int:
        """Arm a failure; see faults.KINDS. ``times`` None: until cleared. Raises: ValueError."""
        return faults.add(
            self.store,
            path,
            kind,
            times,
            app_id=app_id,
            errcode=errcode,
            seconds=seconds,
            after=after,
            probability=probability,
        )

    def clear_faults(self, path: str | None = None) -> int:
        return faults.clear(self.store, path)

    def run_due(self) -> int:
        """Finish jobs and push events whose time has come; how many."""
        return mass_jobs.run_due(self)

    # time

    def set_clock(
        self, moment: datetime | str | None = None, *, frozen: bool | None = None
    ) -> datetime:
        """Move the platform's clock, stop it or let it run; remembered in the file."""
        target = self.moment() if moment is None else parse_moment(moment)
        if frozen is not None:
            self.clock.frozen_at = target if frozen else None
        self.clock.move_to(target)
        stopped = self.clock.frozen_at
        self.store.keep("clock.frozen", stopped.isoformat() if stopped else "")
        self.store.keep("clock.offset", str(self.clock.offset.total_seconds()))
        return self.moment()

    def _restore_clock(self) -> None:
        frozen, offset = self.store.kept("clock.frozen"), self.store.kept("clock.offset")
        if offset:
            self.clock.offset = timedelta(seconds=float(offset))
        if frozen:
            self.clock.frozen_at = parse_moment(frozen)
