"""Segment filters (筛选条件), one a file: an SQL clause over ``followers`` and a sentence for people.

A filter declares ``NAME LABEL Params``, ``where(params, account_id, now, resolve)`` and
``sentence(params)``. Its clause is never NULL (else ``not`` would lose followers), and every
subquery in it carries the account. Subqueries are correlated: the planner walks the audience in
pages by id, and an uncorrelated IN list would be built anew for every page.
"""
