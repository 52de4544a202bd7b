"""Segment filters (筛选条件), one a file: an SQL clause over ``followers`` and a sentence for people.

A filter declares ``NAME LABEL Params``, ``where(params, account_id, now, resolve)`` and
``sentence(params)``. Its clause is never NULL (else ``not`` would lose followers), and every
subquery in it carries the account. Subqueries are correlated: the planner walks the audience in
pages by id, and an uncorrelated IN list would be built anew for every page.

Two more are optional, for ``bot/audiences/index.py``, which keeps a set of people for each filter:
``ids(params, account_id, now)`` selects follower ids from where they are indexed, when that is quicker
than asking every follower (None: it is not); ``rewritten(params)`` says the filter by others, such as
"has none of" as ``not`` of "has one of", which then share their sets. ``ALTERNATIVES`` lists the parameters
of which exactly one is given, so that a form asks which before it asks what.
"""
