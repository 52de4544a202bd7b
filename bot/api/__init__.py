"""``/api/v1``: the console's capabilities for other programs. Bearer tokens, JSON, problem+json errors.

One module an area; their functions only translate: they are handed what was asked, checked, call the
domain, and return a model. ``frame`` is the table of endpoints, ``door`` what every request goes
through, ``document`` the OpenAPI 3.1 document made from the table. Rules: docs/api.md.
"""
