"""What exists is documented: every setting, member, command and number. Adding one without a word fails here."""

import importlib
import re
from pathlib import Path

import click
import pytest

from bot import registry
from bot.config import PREFIX, Config

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MARKDOWN = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def children(group: click.Group) -> list[tuple[str, click.Command]]:
    """The commands of a group, by name."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return [(name, child) for name, child in found.items() if child is not None]


def every_command(command: click.Command, path: str = "") -> list[str]:
    """``account add`` and so on, leaves only, without hidden ones."""
    if isinstance(command, click.Group):
        return [
            found
            for name, child in sorted(children(command))
            if not child.hidden
            for found in every_command(child, f"{path} {name}".strip())
        ]
    return [path]


@pytest.mark.parametrize("field", sorted(Config.model_fields))
def test_a_setting_is_explained_with_its_default(field: str) -> None:
    line = next(
        (one for one in read("settings.md").splitlines() if f"`{PREFIX}{field.upper()}`" in one), ""
    )
    assert line, f"{PREFIX}{field.upper()} is missing in docs/settings.md"
    default = Config.model_fields[field].default
    if field != "secret_key" and default != "":
        assert f"`{default}`" in line


def test_no_setting_is_explained_that_does_not_exist() -> None:
    named = set(re.findall(rf"`{PREFIX}([A-Z_]+?)(?:_FILE)?`", read("settings.md")))
    assert named - {field.upper() for field in Config.model_fields} <= {"…"}


@pytest.mark.parametrize("folder", sorted(registry.FOLDERS))
def test_every_member_is_in_extending(folder: str) -> None:
    importlib.import_module(folder)
    text = read("extending.md")
    missing = [name for name in registry.members(folder) if f"`{name}`" not in text]
    assert not missing, f"{folder}: not in docs/extending.md"


@pytest.mark.parametrize("folder", sorted(set(registry.FOLDERS) - {"handlers"}))
def test_every_member_has_a_name_for_people_in_both_languages(folder: str) -> None:
    importlib.import_module(folder)
    for name, module in registry.members(folder).items():
        assert {"zh", "en"} <= set(module.LABEL), name


def test_every_command_is_in_the_list_of_commands() -> None:
    cli = importlib.import_module("bot.cli")
    text = read("commands.md")
    missing = [name for name in every_command(cli.cli) if f"`qunfen {name}" not in text]
    assert not missing, "not in docs/commands.md"


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_inside_the_documentation_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))
    lost = [link for link in links if not (path.parent / link).exists()]
    assert not lost


def test_a_page_that_the_code_cites_is_there() -> None:
    files = [path for name in ("bot", "handlers", "rules") for path in (ROOT / name).rglob("*.py")]
    lost = {
        f"{path.relative_to(ROOT)}: {cited}"
        for path in files
        for cited in re.findall(r"[\w/.-]+\.md\b", path.read_text(encoding="utf-8"))
        if not cited.startswith("developers.weixin.qq.com/") and not (ROOT / cited).is_file()
    }
    assert not lost
