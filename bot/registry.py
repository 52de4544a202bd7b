"""A folder is a table of members, plus installed plug-ins.

``members("rules.conditions", "qunfen.conditions")`` imports every module of the folder and whatever
packages advertise under the entry-point group, and indexes them by ``NAME`` (handlers: ``KINDS``).
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType

FOLDERS = {
    "handlers": "qunfen.handlers",
    "rules.conditions": "qunfen.conditions",
    "rules.actions": "qunfen.actions",
    "bot.channels": "qunfen.channels",
    "bot.audiences.filters": "qunfen.filters",
    "bot.reports": "qunfen.reports",
    "bot.checks": "qunfen.checks",
}


class TwoMembers(Exception):
    """Two members have one name: the program does not start."""


@cache
def members(folder: str) -> Mapping[str, ModuleType]:
    """Every member of a folder by name, built-in first, then plug-ins.

    Raises:
        TwoMembers: two modules claim one name.
    """
    found: dict[str, ModuleType] = {}
    for module in _modules(folder):
        for name in _names(module):
            if name in found and found[name] is not module:
                raise TwoMembers(
                    f"'{name}' is defined by {found[name].__name__} and by {module.__name__}"
                )
            found[name] = module
    return MappingProxyType(found)


def _modules(folder: str) -> Iterator[ModuleType]:
    package = importlib.import_module(folder)
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda item: item.name):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"{folder}.{info.name}")
    for point in sorted(entry_points(group=FOLDERS[folder]), key=lambda item: item.name):
        loaded = point.load()
        if isinstance(loaded, ModuleType):
            yield loaded


def _names(module: ModuleType) -> tuple[str, ...]:
    kinds: tuple[str, ...] | None = getattr(module, "KINDS", None)
    if kinds is not None:
        return kinds
    name: str | None = getattr(module, "NAME", None)
    return (name,) if name else ()
