"""Campaigns (活动): who gets what, by which channel, out of which month's slots. See docs/concepts.md."""
