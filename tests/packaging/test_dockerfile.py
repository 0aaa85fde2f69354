"""The image's recipe: its shape, and its install steps run in a fresh Debian."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from relay.runtime import health
from tests.packaging.dockerfile import Root, build, parse, words

PROJECT = Path(__file__).parents[2]
STAGES = parse((PROJECT / "Dockerfile").read_text())
FINAL = STAGES[-1]
SWITCH = "RELAY_TEST_DEBOOTSTRAP"
MACHINE_CERTIFICATES = Path("/etc/ssl/machine.crt")  # whom this machine trusts, out of the reach of packages
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def test_there_are_two_stages_of_one_base():
    assert [stage.base for stage in STAGES] == ["debian:bookworm-slim"] * 2
    assert STAGES[0].name == "build"
    assert not any("pip" in step for step in FINAL.of("RUN"))


def test_the_relay_is_not_root_and_is_watched():
    assert FINAL.of("USER") == ["relay"]
    check = FINAL.of("HEALTHCHECK")[0]
    assert words(check) == ["python3", "-m", health.__name__]
    assert [words(FINAL.of(word)[0]) for word in ("ENTRYPOINT", "CMD")] == [["relay"], ["serve"]]


def test_everything_is_installed_by_hash():
    for step in STAGES[0].of("RUN"):
        for command in re.split(r"&&", step):
            if "pip install" in command:
                assert "--require-hashes" in command or "--no-index" in command, command
            if "pip wheel" in command:
                assert "--no-build-isolation" in command, command


def test_what_is_copied_is_let_into_the_context():
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for stage in STAGES:
        for copy in stage.of("COPY"):
            if "--from" not in copy:
                for source in copy.split()[:-1]:
                    assert source in allowed
                    assert (PROJECT / source).exists()


def mirror(suite: str) -> str | None:
    """Return where this machine gets a Debian suite from, by its own configuration."""
    places = Path("/etc/apt")
    for file in [places / "sources.list", *sorted((places / "sources.list.d").glob("*"))]:
        text = file.read_text() if file.is_file() else ""
        line = re.search(rf"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+{suite}\s", text, re.MULTILINE)
        if line:
            return line[1]
        for part in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
            suites = re.search(r"^Suites:(.*)$", part, re.MULTILINE)
            if suites and suite in suites[1].split() and (uris := re.search(r"^URIs:\s*(\S+)", part, re.MULTILINE)):
                return uris[1]
    return None


def pip_settings() -> tuple[dict[str, str], tuple[Path, ...]]:
    """Return pip's environment on this machine, and the local directories that its configuration names."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    files = [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"]
    texts = [file.read_text() for file in files if file.is_file()]
    for text in texts:
        for key, value in re.findall(r"^\s*([a-z-]+)\s*=\s*(\S.*)$", text, re.MULTILINE):
            environment.setdefault(f"PIP_{key.upper().replace('-', '_')}", value.strip())
    named = re.findall(r"(?:file://)?(/[^\s'\"]+)", " ".join(environment.values()))
    directories = {Path(path) for path in named if Path(path).is_dir()}
    return environment, tuple(directories | {path.parent for path in directories if path.name == "simple"})


def network_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """A minimal Debian in a directory, with this machine's way to the network."""
    suite = STAGES[0].base.split(":")[1].removesuffix("-slim")
    source = mirror(suite)
    if source is None:
        pytest.skip(f"this machine has no Debian mirror of {suite} configured")
    root = tmp_path_factory.mktemp("debian") / "root"
    command = ["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", suite, str(root), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    shutil.copy("/etc/hosts", root / "etc" / "hosts")
    for setting in Path("/etc/apt/apt.conf.d").glob("*"):
        if "Acquire" in setting.read_text():
            shutil.copy(setting, root / "etc/apt/apt.conf.d")
    yield root
    shutil.rmtree(root, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(os.environ.get(SWITCH) != "1", reason=f"builds a whole Debian; set {SWITCH}=1")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make and enter a root directory")
@pytest.mark.skipif(
    shutil.which("debootstrap") is None or not KEYRING.is_file(), reason="debootstrap is not installed"
)
def test_the_install_steps_make_a_relay_that_runs(debian, tmp_path_factory):
    place = tmp_path_factory.mktemp("image")
    pip, mounts = pip_settings()
    certificates = Path(pip.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    built: dict[str, Root] = {}
    for stage in STAGES:
        path = place / stage.name
        subprocess.run(["cp", "-a", str(debian), str(path)], check=True, timeout=600)
        if certificates.is_file():
            (path / "etc/ssl").mkdir(parents=True, exist_ok=True)
            shutil.copy(certificates, path / MACHINE_CERTIFICATES.relative_to("/"))
            pip["PIP_CERT"] = str(MACHINE_CERTIFICATES)
        base = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        built[stage.name] = Root(path, mounts, base | network_environment() | (pip if stage.name == "build" else {}))
        build(stage, built[stage.name], PROJECT, built)
    image = built[FINAL.name]
    assert image.run(["relay", "--version"]).startswith("relay ")
    assert image.run(["id", "-u"]).strip() == "10025"
    absent = (
        "import importlib.util as u; print([n for n in ('pytest', 'mypy', 'pip', 'hatchling') if u.find_spec(n)])"
    )
    assert image.run(["python3", "-c", absent]).strip() == "[]"
    image.run(["relay", "init", "/etc/relay", "--data-dir", "/var/lib/relay", "--hostname", "mail.example.com"])
    _other_ports(image.path / "etc/relay/relay.yaml")
    image.run(["relay", "check"])
    _starts_and_answers(image)


def _other_ports(config: Path) -> None:
    ports = iter(free_ports(4))
    config.write_text(re.sub(r"port: \d+", lambda _match: f"port: {next(ports)}", config.read_text()))


def _starts_and_answers(image: Root) -> None:
    process = subprocess.Popen(
        image.command([*words(FINAL.of("ENTRYPOINT")[0]), *words(FINAL.of("CMD")[0])]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    check = image.command(words(FINAL.of("HEALTHCHECK")[0]))
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(check, capture_output=True, check=False, timeout=30).returncode != 0:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "the relay did not become healthy"
            time.sleep(0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
