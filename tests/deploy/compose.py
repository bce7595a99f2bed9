"""The services of deploy/compose.yml as processes, each with the root, network, user and files of the file.

It refuses whatever it does not know, so that nothing in the file is left untried without a word. It leaves to a real
engine: limits of memory and processors, restarts, and the keeping of logs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.image import ROOT, Stage
from tests.deploy.sandbox import BARE, Mount, Sandbox
from tests.e2e.platform import until

FILE = ROOT / "deploy" / "compose.yml"
BRIDGE = "10.213.77.1"
LEFT_TO_THE_ENGINE = {"build", "cap_add", "cap_drop", "deploy", "init", "logging", "ports", "restart", "security_opt"}
LEFT_TO_THE_ENGINE |= {"shm_size", "stop_grace_period", "networks", "network_mode"}
KNOWN = LEFT_TO_THE_ENGINE | {"image", "user", "read_only", "environment", "volumes", "tmpfs", "command", "entrypoint"}
KNOWN |= {"depends_on", "healthcheck", "profiles"}


def read(**variables: str) -> dict[str, Any]:
    """Return the file with its variables filled in, as `docker compose config` does."""

    def value(found: re.Match[str]) -> str:
        return variables.get(found[1]) or found[2]

    text = re.sub(r"\$\{(\w+):-([^}]*)\}", value, FILE.read_text())
    assert "$" not in text
    found: dict[str, Any] = yaml.safe_load(text)
    assert set(found) <= {"name", "services", "networks", "volumes"} | {key for key in found if key.startswith("x-")}
    return found


@dataclass(eq=False)
class Project:
    """The services, in a sandbox. `image` is ours; `programs` stand in for others, by their name's first part."""

    where: Sandbox
    image: Stage
    programs: Mapping[str, Stage]
    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    networks: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        self.file = read()
        self.services: dict[str, dict[str, Any]] = self.file["services"]
        for name, service in self.services.items():
            assert set(service) <= KNOWN, f"{name}: the runner doesn't know {set(service) - KNOWN}"
        self.addresses = {name: f"10.213.77.{n}" for n, name in enumerate(self.services, 20)}
        for name, service in self.services.items():
            if isinstance(given := service.get("networks"), dict):
                self.addresses[name] = given["front"]["ipv4_address"]
        for name, address in self.addresses.items():
            self.networks[name] = self.where.machine_at(address, BRIDGE)
        self.hosts = self.folder / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.addresses.items())]
        self.hosts.write_text("\n".join(lines) + "\n")

    def stage(self, service: Mapping[str, Any]) -> Stage:
        name = re.split(r"[:/]", service["image"])[0]
        return self.image if name == "spell-platform" else self.programs[name]

    def volume(self, source: str, target: str, stage: Stage) -> Path:
        """Return a volume's folder on this machine; a new one belongs to whom the image's folder belongs."""
        path = ROOT / "deploy" / source if source.startswith("./nginx") else self.folder / source.lstrip("./")
        if not path.exists():
            path.mkdir()
            for layer in stage.layers:
                if (theirs := self.where.seen(layer) / target.lstrip("/")).exists() and not source.startswith("."):
                    shutil.copystat(theirs, path)
                    shutil.chown(path, theirs.stat().st_uid, theirs.stat().st_gid)
                    break
        return path

    def mounts(self, service: Mapping[str, Any]) -> list[Mount]:
        found = [Mount("/etc/hosts", self.hosts, read_only=True)]
        for line in service.get("volumes", []):
            source, target, *options = line.split(":")
            assert options in ([], ["ro"]), line
            found.append(Mount(target, self.volume(source, target, self.stage(service)), read_only=bool(options)))
        for line in service.get("tmpfs", []):
            target, _, options = line.partition(":")
            found.append(Mount(target, options=options))
        return found

    def options(self, name: str) -> dict[str, Any]:
        """Return how programs of a service are started."""
        service = self.services[name]
        stage = self.stage(service)
        # As an engine does, a service that may write has a layer of its own for that; so has each of its checks, for
        # two mounts that share one take it from each other.
        own = [] if service.get("read_only") else [self.where.scratch()]
        return {
            "layers": [*own, *stage.layers],
            "environment": BARE | stage.environment | service.get("environment", {}),
            "user": str(service.get("user", stage.user)),
            "cwd": stage.cwd,
            "mounts": [*stage.mounts, *self.mounts(service)],
            "read_only": bool(service.get("read_only")),
            "network": self.networks[name],
        }

    def command(self, name: str) -> list[str]:
        service = self.services[name]
        return [*service.get("entrypoint", []), *service.get("command", self.stage(service).command)]

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def up(self, *names: str) -> None:
        """Start services, each after what it depends on, and wait as long as that has to be waited for."""
        for name in names or [name for name, service in self.services.items() if "profiles" not in service]:
            if name not in self.running and name not in self.completed:
                for other, how in self.services[name].get("depends_on", {}).items():
                    self.up(other)
                    self.wait(other, how["condition"])
                self.start(name)

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = self.where.start(self.command(name), output=log, **self.options(name))

    def wait(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            if name not in self.completed:
                code = self.running[name].wait(120)
                assert code == 0, f"{name} ended with {code}:\n{self.log(name)}"
                del self.running[name]
                self.completed.add(name)
        else:
            assert condition == "service_healthy", condition
            until(lambda: self.healthy(name), every=0.2)

    def healthy(self, name: str) -> bool:
        """Ask as the engine does: by the service's own check, or its image's."""
        assert self.running[name].poll() is None, f"{name} ended:\n{self.log(name)}"
        given = self.services[name].get("healthcheck", {}).get("test")
        assert given is None or given[0] == "CMD"
        test = given[1:] if given else self.stage(self.services[name]).health
        checking = self.where.start(test, output=subprocess.DEVNULL, **self.options(name))
        return checking.wait(30) == 0

    def manage(self, *arguments: str) -> str:
        """Run a command to its end, as `docker compose run --rm manage` does; return what it printed."""
        return self.where.run([*self.services["manage"]["entrypoint"], *arguments], **self.options("manage"))

    def stop(self, name: str) -> int:
        """End a service as the engine does; return its exit code."""
        process = self.running.pop(name)
        process.terminate()
        return process.wait(60)

    def down(self) -> None:
        for process in self.running.values():
            process.terminate()
        end = time.monotonic() + 20
        for process in self.running.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
