"""Rules decide what a push is answered with. Pure: no database, no Flask, no WeChat, no clock of its own.

``model.load`` turns the JSON of a rulebook into a checked, indexed ``Rulebook``; ``engine.decide`` takes it and
the ``Facts`` of one push and returns the rules that won, the effects they want and the trace that says why.
"""
