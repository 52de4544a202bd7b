"""The operators' console: server-rendered, behind a login, nothing from other hosts."""
