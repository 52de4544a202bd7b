"""What import-linter cannot say: where time is read, where everything may be caught, who uses which library."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path for folder in ("bot", "handlers", "rules") for path in (ROOT / folder).rglob("*.py")
)
LONG = 600  # lines; the habit is 300 and no gate, this is where a file has lost its one purpose

# library -> the places that may import it; everything else goes through them
LIBRARIES = {
    "wechatpy": ("bot.wechat",),
    "pycurl": ("bot.wechat",),
    "requests": ("bot.wechat", "bot.runtime", "bot.serve", "bot.commands", "bot.demo", "bot.sandbox"),
    "flask": (
        "bot.app", "bot.serve", "bot.runtime", "bot.webhook", "bot.links", "bot.health", "bot.console", "bot.api",
        "bot.demo",
        "bot.sandbox",
    ),
    "flask_login": ("bot.app", "bot.console"),
    "flask_wtf": ("bot.app", "bot.console"),
    "alembic": ("bot.migrate",),
    "apscheduler": ("bot.scheduler",),
    "celery": ("bot.distributed",),
    "redis": ("bot.kept", "bot.distributed", "bot.health"),
    "structlog": ("bot.logs",),
    "prometheus_client": ("bot.metrics", "bot.health"),
    "cryptography": ("bot.secrets", "bot.wechat", "bot.sandbox"),
    "yaml": ("bot.as_code",),
    "re2": ("rules",),
    "ahocorasick_rs": ("rules", "bot.checks"),
    "opencc": ("rules", "bot.demo"),
}  # fmt: skip

CATCH_ALL = {"bot.receive", "bot.jobs", "bot.one_by_one", "bot.outbox", "bot.outbox_bulk"}
CLOCK_READERS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "datetime.datetime.now", "datetime.datetime.utcnow",
    "date.today", "datetime.date.today", "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns",
    "time.perf_counter", "time.gmtime", "time.localtime", "time.strftime",
}  # fmt: skip
TIMELY_SQL = {"func.now", "sa.func.now", "func.current_timestamp", "sa.func.current_timestamp"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def inside(module: str, places: tuple[str, ...] | set[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


@cache
def _by_kind() -> dict[type, list[tuple[str, ast.AST]]]:
    found: dict[type, list[tuple[str, ast.AST]]] = {}
    for path in FILES:
        module = module_of(path)
        for node in ast.walk(tree_of(path)):
            found.setdefault(type(node), []).append((module, node))
    return found


def nodes(*kinds: type) -> Iterator[tuple[str, ast.AST]]:
    for kind in kinds:
        yield from _by_kind().get(kind, [])


def imports() -> Iterator[tuple[str, str, ast.AST]]:
    for module, node in nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield module, node.module, node
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield module, name.name, node


def test_time_is_read_in_the_clock_alone():
    found = [
        f"{module}:{node.lineno} {dotted(node)}"
        for module, node in nodes(ast.Attribute)
        if dotted(node) in CLOCK_READERS | TIMELY_SQL and module != "bot.clock"
    ]
    found += [f"{module}:{node.lineno} from time import" for module, name, node in imports()
              if isinstance(node, ast.ImportFrom) and name == "time" and module != "bot.clock"]  # fmt: skip
    assert not found, "time comes from bot.clock and is passed as `now`:\n" + "\n".join(found)


def test_nothing_sleeps_by_the_wall_clock():
    found = [
        f"{module}:{node.lineno}"
        for module, node in nodes(ast.Attribute)
        if dotted(node) == "time.sleep" and not inside(module, ("bot.sandbox", "bot.clock"))
    ]
    assert not found, "wait on an Event, so that a stop is heard at once: " + ", ".join(found)


def test_everything_is_caught_in_few_places_only():
    found = []
    for module, node in nodes(ast.ExceptHandler):
        caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
        if any(one is None or dotted(one) == "Exception" for one in caught):
            found.append(module)
    assert set(found) <= CATCH_ALL


def test_chance_is_an_argument():
    found = [
        f"{module}:{node.lineno} {dotted(node.func)}"
        for module, node in nodes(ast.Call)
        if dotted(node.func).startswith("random.")
        and not (dotted(node.func) == "random.Random" and node.args)
    ]
    assert not found, "hash what is at hand, or take a random.Random: " + ", ".join(found)


def test_no_import_hides_in_a_function():
    found = [
        f"{module}:{inner.lineno}"
        for module, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert not found, "imports stand at the top: " + ", ".join(found)


def test_no_type_checking_import_escapes_a_cycle():
    found = [module for module, node in nodes(ast.Name) if node.id == "TYPE_CHECKING"]
    assert not found


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_is_imported_only_where_it_belongs(library: str):
    found = [
        f"{module}:{node.lineno}"
        for module, name, node in imports()
        if name.split(".")[0] == library and not inside(module, LIBRARIES[library])
    ]
    assert not found, f"{library} belongs to {LIBRARIES[library]}: " + ", ".join(found)


def test_the_sandbox_knows_nothing_of_the_program_but_the_clock():
    found = [
        f"{module} imports {name}"
        for module, name, node in imports()
        if inside(module, ("bot.sandbox",))
        and name.split(".")[0] in {"bot", "handlers", "rules"}
        and not inside(name, ("bot.sandbox", "bot.clock"))
        and not (name == "bot" and {one.name for one in node.names} <= {"clock", "sandbox"})
    ]
    assert not found


def test_only_the_command_line_starts_the_sandbox():
    found = {
        module
        for module, name, _ in imports()
        if inside(name, ("bot.sandbox",)) and not inside(module, ("bot.sandbox",))
    }
    assert {module.split(".")[1] for module in found} <= {"cli", "commands", "demo"}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_module_says_what_it_is_for(path: Path):
    if path.name != "__init__.py" or path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree_of(path))


def test_no_file_has_lost_its_one_purpose():
    sizes = {module_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {module: size for module, size in sizes.items() if size > LONG} == {}


def test_every_module_stands_on_a_floor():
    """A new module of ``bot`` is put on a floor in pyproject.toml, or import-linter never looks at it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    placed = {name.strip(" ()") for layer in contract["layers"] for name in layer.split(":")}
    lost = {
        module
        for path in FILES
        if (module := module_of(path)) not in {"bot", "bot.campaigns", "rules", "handlers"}
        and not inside(module, placed | {"bot.sandbox"})
    }
    assert not lost


def test_the_project_speaks_of_itself_alone():
    """No path of the machine it is written on in what is shipped."""
    words = (f"{ROOT}/", f"{Path.home()}/", "/root/", "/home/", "file:///opt")
    texts = [*FILES, *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*.t*")]
    texts.append(ROOT / "Makefile")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in texts
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert not found
