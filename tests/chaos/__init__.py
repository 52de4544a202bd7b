"""Kills the product at random moments of campaigns and holds what it did against the platform's own records.

The product is one process on its own SQLite file, or seven on a PostgreSQL and a Redis of their own; the sandbox
is a process beside it, which nobody kills. ``make chaos`` runs it.
"""
