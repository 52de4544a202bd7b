"""Kills the product at random moments of campaigns and holds what it did against the platform's own records.

The product is one process on its own SQLite file, the sandbox another beside it; ``make chaos`` runs it.
"""
