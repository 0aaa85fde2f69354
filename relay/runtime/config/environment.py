"""Checks of a configuration against this machine: certificates, directories, users, ports.

They change nothing. An error keeps the relay from working; a warning asks for a look. `relay check`, the start and
every reload use them.
"""

import errno
import importlib.util
import os
import pwd
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from relay.errors import ConfigurationError
from relay.runtime import shaping
from relay.runtime.config.certificate import certificate_findings
from relay.runtime.config.faults import Finding, Severity, dotted
from relay.runtime.config.faults import Path as KeyPath
from relay.runtime.config.incoming import Listener
from relay.runtime.config.load import Loaded
from relay.runtime.config.suggest import nearest
from relay.runtime.config.values import shown
from relay.schedule.warmup import OTHER

_SERVED_KINDS = ("submission", "mx", "http", "metrics")
_LOG_BYTES_A_WORKER = 16 << 20  # a spool's log before it is carried over into the database, which grows by it
_Found = Iterator[tuple[Severity, KeyPath, str]]


def check(loaded: Loaded, *, now_ms: int, ports: bool = True) -> list[Finding]:
    """Return what this machine has against a configuration.

    `ports`: also try every port; leave it out while this relay holds them itself.
    """
    found = [
        *_names(loaded),
        *certificate_findings(loaded.config, now_ms),
        *_run_as(loaded),
        *_data_dir(loaded),
        *_master_key(loaded),
        *_password_files(loaded),
        *_authorities(loaded),
        *_extras(loaded),
        *_source_addresses(loaded),
        *_warm_up_shares(loaded),
        *_served(loaded),
    ]
    if ports:
        found += _ports(loaded)
    file = str(loaded.file)
    own = [Finding(severity, file, loaded.line(path), dotted(path), text) for severity, path, text in found]
    return [*own, *shaping.findings_of(loaded.config.shaping)]


def refuse_errors(findings: list[Finding]) -> None:
    """Raise ConfigurationError with every error among the findings."""
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise ConfigurationError("\n".join(errors))


def _names(loaded: Loaded) -> _Found:
    config = loaded.config
    if "." not in config.hostname:
        text = "has no dot; mail servers on the internet want a full name such as relay.example"
        yield "warning", ("hostname",), text
    if not config.dns.nameservers and not Path("/etc/resolv.conf").is_file():
        yield "warning", ("dns", "nameservers"), "is empty and there is no /etc/resolv.conf; no name will be found"


def _run_as(loaded: Loaded) -> _Found:
    run_as = loaded.config.run_as
    if run_as is None:
        if os.geteuid() == 0:
            yield "warning", ("run_as",), "is not set and root runs the relay; name an ordinary user"
        return
    try:
        user = pwd.getpwnam(run_as.user)
    except KeyError:
        text = f"does not exist: {shown(run_as.user)}; create it with `useradd --system {run_as.user}`"
        yield "error", ("run_as", "user"), text
        return
    if os.geteuid() not in (0, user.pw_uid):
        text = f"is {run_as.user}, but you are another user and not root; start the relay as root or as {run_as.user}"
        yield "error", ("run_as", "user"), text


def _data_dir(loaded: Loaded) -> _Found:
    path = loaded.config.data_dir
    place = next((parent for parent in (path, *path.parents) if parent.exists()), Path("/"))
    if not place.is_dir():
        yield "error", ("data_dir",), f"cannot be used: {place} is not a directory"
        return
    if not os.access(place, os.W_OK | os.X_OK):
        yield "error", ("data_dir",), f"cannot be written: {place} does not let this user write"
        return
    if place == path and stat.S_IMODE(path.stat().st_mode) & 0o077:
        text = f"can be read by other users; `chmod 700 {path}` keeps mail and keys private"
        yield "warning", ("data_dir",), text
    free = shutil.disk_usage(place).free
    needed = loaded.config.worker_count(len(os.sched_getaffinity(0))) * _LOG_BYTES_A_WORKER
    if loaded.config.limits.disk_free_min < needed:
        text = (
            f"is less than the {needed >> 20} MB that the logs of workers may need; a full disk could stop deliveries"
        )
        yield "warning", ("limits", "disk_free_min"), text
    if free < loaded.config.limits.disk_free_min:
        text = f"has {free >> 20} MiB free, less than limits.disk_free_min; no mail would be accepted"
        yield "warning", ("data_dir",), text


def _master_key(loaded: Loaded) -> _Found:
    path = loaded.config.data_dir / "keys" / "master.key"
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever needs it says what is wrong with it
    if mode & 0o077:
        text = f"{path} can be read by other users, and opens every DKIM key and password; `chmod 600 {path}`"
        yield "warning", ("data_dir",), text


def _password_files(loaded: Loaded) -> _Found:
    config = loaded.config
    files: list[tuple[KeyPath, Path | None]] = [
        *((("routes", n, "password_file"), route.password_file) for n, route in enumerate(config.routes)),
        *(
            (("streams", n, "secret_access_key_file"), one.secret_access_key_file)
            for n, one in enumerate(config.streams)
        ),
        *((("streams", n, "encryption_key_file"), one.encryption_key_file) for n, one in enumerate(config.streams)),
        *((("buses", n, "secret_file"), bus.secret_file) for n, bus in enumerate(config.buses)),
        (("topics", "key"), config.topics.key),
        (("snds", "key_file"), config.snds.key_file),
    ]
    for path, file in files:
        if file is not None:
            yield from _secret_file(path, file)


def _secret_file(path: KeyPath, file: Path) -> _Found:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        yield "error", path, f"cannot be read: {file}: {error.strerror}"
        return
    if not stat.S_ISREG(mode) or not os.access(file, os.R_OK):
        yield "error", path, f"cannot be read: {file}"
    elif mode & stat.S_IROTH:
        yield "error", path, f"{file} can be read by everybody; `chmod 600 {file}`"


def _extras(loaded: Loaded) -> _Found:
    """Look whether what streams need is installed."""
    for index, stream in enumerate(loaded.config.streams):
        module, extra = {"bucket": ("boto3", "s3"), "kafka": ("aiokafka", "kafka")}.get(stream.type, ("", ""))
        if module and importlib.util.find_spec(module) is None:
            text = f"`{stream.type}` needs {module}; install `relay-mta[{extra}]`"
            yield "error", ("streams", index, "type"), text


def _authorities(loaded: Loaded) -> _Found:
    """Look whether the files of authorities that TLS goes by hold any."""
    config = loaded.config
    files: tuple[tuple[KeyPath, Path | None], ...] = (
        *((("buses", index, "ca_file"), bus.ca_file) for index, bus in enumerate(config.buses)),
        (("delivery", "tls_ca_file"), config.delivery.tls_ca_file),
        (("mta_sts", "ca_file"), config.mta_sts.ca_file),
        (("topics", "ca_file"), config.topics.ca_file),
        (("snds", "ca_file"), config.snds.ca_file),
    )
    for path, file in files:
        if file is None:
            continue
        try:
            ssl.create_default_context(cafile=str(file))
        except (OSError, ssl.SSLError) as error:
            reason = "no certificate in PEM is in it" if isinstance(error, ssl.SSLError) else error.strerror
            yield "error", path, f"cannot be used: {file}: {reason}"


def _source_addresses(loaded: Loaded) -> _Found:
    for index, one in enumerate(loaded.config.delivery.source_addresses):
        failure = _bind_failure(one.address, 0)
        if failure:
            path: KeyPath = ("delivery", "source_addresses", index)
            yield "warning", path, f"{one.address} is not an address of this machine; nothing leaves from it"


def _warm_up_shares(loaded: Loaded) -> _Found:
    """Look for shares that nobody would use, and for providers that would have none.

    Somebody who uses it is a provider with rules, or a site, whose name has a dot.
    """
    shares = loaded.config.warmup.shares
    if shares and OTHER not in {one.provider for one in shares}:
        text = f"have no `{OTHER}`: nothing goes from an address that warms up to providers that are not named"
        yield "warning", ("warmup", "shares"), text
    known = shaping.provider_names(loaded.config.shaping)
    for index, one in enumerate(shares if known else ()):
        if one.provider not in known and one.provider != OTHER and "." not in one.provider:
            meant = nearest(one.provider, known)
            hint = f"; did you mean `{meant}`?" if meant else "; `relay shaping list` names all"
            text = f"no shaping rules are named {one.provider}, so nobody uses this share{hint}"
            yield "warning", ("warmup", "shares", index, "provider"), text


def _served(loaded: Loaded) -> _Found:
    for index, listener in enumerate(loaded.config.listeners):
        if listener.kind not in _SERVED_KINDS:
            yield "warning", ("listeners", index, "kind"), f"`{listener.kind}` is not served by this release"


def _ports(loaded: Loaded) -> _Found:
    for index, listener in enumerate(loaded.config.listeners):
        failure = _bind_failure(listener.address, listener.port)
        if failure:
            key = "address" if failure == errno.EADDRNOTAVAIL else "port"
            yield "error", ("listeners", index, key), port_sentence(listener, failure)


def port_sentence(listener: Listener, failure: int) -> str:
    """Return what to say when a listener's port cannot be had; `failure` is an errno."""
    place = f"[{listener.address}]" if ":" in listener.address else listener.address
    place = f"{place}:{listener.port}"
    if failure == errno.EADDRINUSE:
        return f"{place} is in use by another program; stop that, or choose another port"
    if failure in (errno.EACCES, errno.EPERM):
        return f"{place} may only be opened by root or with CAP_NET_BIND_SERVICE; use a port above 1023, or the unit"
    if failure == errno.EADDRNOTAVAIL:
        return f"{listener.address} is not an address of this machine"
    return f"{place} cannot be opened: {os.strerror(failure)}"


def _bind_failure(address: str, port: int) -> int:
    """Return the errno of binding, 0 when it works."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0
