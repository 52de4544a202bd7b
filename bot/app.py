"""Puts the doors together: ``create_app(config)``."""

import gc

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from bot import health, links, logs, runtime, webhook
from bot.api import wiring as api
from bot.config import Config
from bot.console import (
    accounts,
    allocation,
    articles,
    audit,
    calendar,
    campaigns,
    campaigns_compare,
    campaigns_page,
    campaigns_review,
    campaigns_steps,
    entering,
    failed_pushes,
    follower_files,
    follower_page,
    followers,
    frame,
    home,
    jobs,
    ledger,
    ledger_sends,
    materials,
    menus,
    messages,
    notices,
    people,
    plan_pages,
    playbook_pages,
    quotas,
    rule_checks,
    rule_editor,
    rule_rehearsal,
    rulebooks,
    rules,
    scene_forms,
    scene_pages,
    scenes,
    security,
    segment_editor,
    segment_page,
    segments,
    tags,
    todo,
    tokens,
    unmatched,
    webhooks,
    wizard,
)
from bot.runtime import Runtime

CONSOLE = (
    entering,
    followers,
    follower_page,
    follower_files,
    tags,
    segments,
    segment_editor,
    segment_page,
    wizard,
    plan_pages,
    playbook_pages,
    frame,
    home,
    failed_pushes,
    todo,
    messages,
    people,
    scenes,
    scene_forms,
    scene_pages,
    menus,
    materials,
    articles,
    notices,
    campaigns,
    campaigns_page,
    campaigns_steps,
    campaigns_review,
    campaigns_compare,
    calendar,
    allocation,
    ledger,
    ledger_sends,
    tokens,
    webhooks,
    rules,
    rule_editor,
    rule_rehearsal,
    rulebooks,
    rule_checks,
    unmatched,
    accounts,
    audit,
    jobs,
    quotas,
)  # importing an area puts its pages on the console's blueprint


def create_app(config: Config, rt: Runtime | None = None) -> Flask:
    """The web application. ``rt`` is given by the one-process server and by tests."""
    logs.configure(config.log_format)
    app = Flask("bot", static_folder=None)
    app.config["SECRET_KEY"] = config.secret_key.get_secret_value()
    rt = rt if rt is not None else runtime.build(config)
    app.extensions["qunfen"] = rt
    for area in (links, health):
        app.register_blueprint(area.blueprint)
    security.install(app)
    api.install(app)
    app.wsgi_app = webhook.in_front_of(app.wsgi_app, rt)  # type: ignore[method-assign,assignment]
    if config.trusted_proxies:
        hops = config.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def settled(app: Flask) -> Flask:
    """The app as a server runs it: what start made is left out of later garbage collections.

    A full collection of it takes 0.2 s, and would come in the middle of somebody's page.
    """
    gc.collect()
    gc.freeze()
    return app
