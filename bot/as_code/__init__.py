"""An official account as one YAML file: read it with line numbers, check it, plan, apply, pull.

``docs/account-file.md`` is the reference for whoever writes one.
"""
