"""What is shipped for servers names only what exists: commands, options, ports, folders and settings."""

import fnmatch
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bot.cli import cli
from bot.config import PREFIX, Config

ROOT = Path(__file__).resolve().parent.parent
UNITS = sorted((ROOT / "deploy/systemd").iterdir())
SETTINGS = {PREFIX + name.upper() for name in Config.model_fields}
SETTINGS |= {name + "_FILE" for name in SETTINGS}
# what the package is built from (pyproject.toml)
BUILT_FROM = (
    "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "wsgi.py", "bot", "handlers", "rules",
    "migrations", "frontend",
)  # fmt: skip


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(read("compose.yaml"))
    return found


def dockerfile(word: str) -> list[str]:
    """The arguments of every instruction of this name, continued lines joined."""
    joined = read("Dockerfile").replace("\\\n", " ")
    return re.findall(rf"^{word}\s+(.+)$", joined, re.MULTILINE)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(where, arguments of ``qunfen``) of everything that is started."""
    for text in dockerfile("CMD"):
        yield "Dockerfile", yaml.safe_load(text)
    for name, service in compose()["services"].items():
        if service.get("image") == "qunfen":
            yield f"compose.yaml {name}", service["command"]
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE):
            found = re.search(r"/srv/qunfen/\.venv/bin/qunfen ([^']+)", line)
            assert found is not None, line
            plain = found[1].replace("$(date +%%Y%%m%%d-%%H%%M%%S)", "today")
            yield unit.name, shlex.split(plain)


@pytest.mark.parametrize(("where", "arguments"), list(commands()), ids=lambda value: str(value))
def test_every_command_is_one_we_have(where: str, arguments: list[str]) -> None:
    context = click.Context(cli)
    command: click.Command | None = cli
    while isinstance(command, click.Group):
        command = command.get_command(context, arguments[0])
        assert command is not None, (where, arguments)
        arguments = arguments[1:]
    assert command is not None
    command.make_context(command.name, list(arguments), parent=context)  # raises at a wrong option


def test_every_setting_is_one_we_have() -> None:
    files = [*UNITS, ROOT / "compose.yaml", ROOT / "Dockerfile", ROOT / "docs/production.md"]
    for file in files:
        named = set(re.findall(r"\bQUNFEN_[A-Z_]+\b", file.read_text(encoding="utf-8")))
        assert named <= SETTINGS, file.name


def test_the_port_is_the_same_everywhere() -> None:
    default = next(
        parameter.default
        for parameter in cli.get_command(click.Context(cli), "web").params  # type: ignore[union-attr]
        if parameter.name == "port"
    )
    assert dockerfile("EXPOSE") == [str(default)]
    assert f"127.0.0.1:{default}" in read("deploy/nginx.conf")
    web = compose()["services"]["web"]
    assert web["ports"] == [f"127.0.0.1:{default}:{default}"]
    assert f":{default}/healthz" in str(web["healthcheck"])
    for where, arguments in commands():
        if "--port" in arguments:
            assert arguments[arguments.index("--port") + 1] == str(default), where


def test_the_image_is_built_from_everything_it_needs_and_holds_no_secret() -> None:
    ignored = [
        line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")
    ]

    def is_left_out(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in ignored)

    assert [name for name in BUILT_FROM if is_left_out(name)] == []
    assert all((ROOT / name).exists() for name in BUILT_FROM)
    assert all(is_left_out(name) for name in (".git", ".env", ".venv", "instance", "secrets"))


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert dockerfile("USER") == ["qunfen"]
    assert dockerfile("WORKDIR")[-1] + "/instance" in dockerfile("VOLUME")
    assert dockerfile("ENTRYPOINT") == ['["qunfen"]']


def test_secrets_of_the_compose_file_are_all_named_and_none_is_written_in_it() -> None:
    told = compose()
    used = {name for service in told["services"].values() for name in service.get("secrets", [])}
    assert used == set(told["secrets"])
    for name in told["secrets"]:
        assert f"> secrets/{name}" in read("compose.yaml"), f"how {name} is made"
    for service in told["services"].values():
        for name, value in service.get("environment", {}).items():
            if name.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]
            assert "PASSWORD" not in name or name.endswith("_FILE")


def test_every_part_of_an_installation_is_there_and_waits_for_the_tables() -> None:
    services = compose()["services"]
    assert set(services) == {"postgres", "redis", "migrate", "web", "scheduler", "worker"}
    for name in ("web", "scheduler", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"].endswith("successfully")
    assert {unit.stem for unit in UNITS if unit.suffix == ".service"} == {
        "qunfen-web", "qunfen-scheduler", "qunfen-worker@", "qunfen-backup",
    }  # fmt: skip


def test_the_proxy_hands_a_push_on_before_the_platform_hangs_up() -> None:
    config = read("deploy/nginx.conf")
    callback = config[config.index("location /callback/") :]
    callback = callback[: callback.index("}")]
    waits = [int(seconds) for seconds in re.findall(r"timeout (\d)s", callback)]
    assert waits and max(waits) <= 5
    assert "non_idempotent" in callback, "a POST goes to the next server as well"


def test_nginx_takes_the_file(tmp_path: Path) -> None:
    if not (shutil.which("nginx") and shutil.which("openssl")):
        return  # not everybody who runs the suite has them, and the file is read above all the same
    for name in ("fullchain.pem", "privkey.pem"):
        assert name in read("deploy/nginx.conf")
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -subj /CN=x"
    subprocess.run(shlex.split(make), check=True, capture_output=True)
    text = read("deploy/nginx.conf").replace("/etc/letsencrypt/live/wx.example.com", str(tmp_path))
    (tmp_path / "site.conf").write_text(text, encoding="utf-8")
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; include {tmp_path}/site.conf; }}\n",
        encoding="utf-8",
    )
    told = subprocess.run(
        ["nginx", "-t", "-c", str(main)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        return  # as above
    program = tmp_path / "qunfen"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        text = text.replace("/srv/qunfen/.venv/bin/qunfen", str(program))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    told = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
