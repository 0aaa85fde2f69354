"""Just enough of a Dockerfile's meaning to run its steps in plain directories: no engine, no layers.

Understood: ARG, FROM, ENV, RUN, COPY, WORKDIR, USER; the rest is kept for tests to look at.
"""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: its word in capitals, and the rest of its line."""

    word: str
    rest: str


@dataclass
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [step.rest for step in self.steps if step.word == word]


def parse(text: str) -> list[Stage]:
    """Return the stages, with continued lines joined and comments dropped."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for line in filter(str.strip, re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()):
        word, _, rest = line.strip().partition(" ")
        rest = " ".join(rest.split())
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image)
            stages.append(Stage(name or str(len(stages)), base))
        elif not stages:
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            stages[-1].steps.append(Step(word, rest))
    return stages


class Root:
    """A directory that commands run in as if it were a machine's root."""

    def __init__(self, path: Path, mounts: tuple[Path, ...], environment: dict[str, str]) -> None:
        self.path = path
        self._mounts = mounts
        self.environment = dict(environment)
        self.directory = "/"
        self.user = "root"

    def command(self, command: list[str]) -> list[str]:
        """Return the command line that runs a command inside, in mount and process namespaces of its own."""
        mounts = [f"mount --rbind /dev {self.path}/dev", f"mount -t proc proc {self.path}/proc"]
        for source in self._mounts:
            target = self.path / source.relative_to("/")
            target.mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {source} {target}")
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        inside = ["env", "-i", f"--chdir={self.directory}", *settings, *command]
        if self.user != "root":
            inside = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *inside]
        script = " && ".join([*mounts, f"exec chroot {self.path} {shlex.join(inside)}"])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script]

    def run(self, command: list[str]) -> str:
        done = subprocess.run(self.command(command), capture_output=True, text=True, check=False, timeout=1800)
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


def build(stage: Stage, root: Root, context: Path, built: dict[str, Root]) -> None:
    """Run the steps of a stage."""
    for step in stage.steps:
        if step.word == "RUN":
            root.run(["sh", "-ec", step.rest])
        elif step.word == "COPY":
            _copy(step.rest, root, context, built)
        elif step.word == "WORKDIR":
            root.directory = step.rest
            (root.path / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.word == "ENV":
            root.environment |= dict(item.split("=", 1) for item in shlex.split(step.rest))
        elif step.word == "USER":
            root.user = step.rest


def _copy(rest: str, root: Root, context: Path, built: dict[str, Root]) -> None:
    *sources, target = rest.split()
    origin = context
    if sources[0].startswith("--from="):
        origin = built[sources.pop(0).removeprefix("--from=")].path
    place = root.path / Path(root.directory, target).relative_to("/")
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(
                path, place, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            inside = target.endswith(("/", "."))
            (place if inside else place.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place / path.name if inside else place)


def words(rest: str) -> list[str]:
    """Return the words of an instruction in its JSON form."""
    return list(json.loads(rest[rest.index("[") :]))
