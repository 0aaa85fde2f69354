"""The configuration in force, and how another one takes its place.

A reload is done whole or not at all: the file is validated, new ports are bound, every ready child takes the new
configuration; when one of them cannot, those that did get the old one back. A child that is just starting gets what
is current once it is ready. One reload at a time: what is asked for meanwhile follows it.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from relay.errors import ConfigurationError, RelayError
from relay.ports import Json
from relay.runtime.config.environment import check, refuse_errors
from relay.runtime.config.load import load
from relay.runtime.config.model import Config
from relay.runtime.config.reload import reload_changes
from relay.runtime.control import to_memory_file
from relay.runtime.notify import Notifier
from relay.runtime.observe.log import StructuredLog
from relay.runtime.sockets import Listening, Place, places_of
from relay.runtime.supervisor_child import Child, sockets_of
from relay.runtime.supervisor_children import Children
from relay.runtime.supervisor_start import write_listeners


@dataclass(slots=True)
class _Reload:
    """A reload that children are taking on. `waiting` has those that have not answered.

    `back`: the old configuration again, after one of them could not take the new one.
    """

    config: Config
    opened: list[Place]
    deadline: float
    waiting: set[str]
    faults: list[str] = field(default_factory=list)
    back: bool = False


class Reloads:
    """What children are to have. `generation` counts the configurations that were sent out."""

    def __init__(
        self,
        path: Path,
        config: Config,
        children: Children,
        listening: Listening,
        *,
        log: StructuredLog,
        notifier: Notifier,
        patience_seconds: float,
    ) -> None:
        self.config = config
        self.generation = 0
        self._path = path
        self._children = children
        self._listening = listening
        self._log = log
        self._notifier = notifier
        self._patience_seconds = patience_seconds
        self._reload: _Reload | None = None
        self._wanted = False
        self._stopped = False

    def current(self) -> Config:
        """Return the configuration that a child starting now gets."""
        return self._reload.config if self._reload is not None else self.config

    def status(self) -> str:
        """Return what is told to people about the relay as it runs."""
        workers = sum(child.index > 0 for child in self._children)
        return f"{workers} workers, {len(self._listening.places())} listeners"

    def want(self) -> None:
        """Reload, now or when the one that is under way is over."""
        self._wanted = True
        self._begin()

    def stop(self) -> None:
        """Reload no more; what is under way stays as it is, and nobody is ended for it."""
        self._stopped = True
        self._reload = None

    def tick(self, now: float) -> None:
        """End those that should have taken a configuration on by now."""
        reload = self._reload
        if reload is None or now < reload.deadline:
            return
        reload.deadline = now + self._patience_seconds
        for child in self._children:
            if child.name in reload.waiting:
                self._log.error("process did not reload in time and is started again", name=child.name)
                self._children.kill(child)

    def ready(self, child: Child) -> None:
        """Give a child that began under another configuration the one in force."""
        if self._reload is None and not self._stopped:
            self._update([child])

    def answered(self, child: Child, message: Json) -> None:
        """Note what a child said to a configuration."""
        took = bool(message.get("ok"))
        reload = self._reload
        if reload is None or message.get("id") != self.generation:
            if not took and not self._stopped:  # a straggler that cannot live with what all others have
                self._children.kill(child)
            return
        if not took:
            reload.faults.append(f"{child.name}: {message.get('error', '')}")
            child.generation = -1
            child.held &= set(places_of(self.config.listeners))
        self.done_with(child)

    def done_with(self, child: Child) -> None:
        """Wait no longer for a child: it has answered or died."""
        if self._reload is not None:
            self._reload.waiting.discard(child.name)
            self._go_on()

    # --- steps ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Validate the file, open what is new, and pass it on."""
        if not self._wanted or self._reload is not None or self._stopped:
            return
        self._wanted = False
        self._notifier.reloading()
        try:
            config = self._read()
            opened = self._listening.open(places_of(config.listeners))
        except RelayError as error:
            self._refuse(str(error).splitlines())
            return
        self._pass_on(config, opened)

    def _read(self) -> Config:
        loaded = load(self._path)
        findings = check(loaded, now_ms=int(time.time() * 1000), ports=False)
        refuse_errors(findings)
        for finding in findings:
            self._log.warning("configuration", text=str(finding))
        refusal = reload_changes(self.config, loaded.config).refusal
        if refusal:
            raise ConfigurationError(refusal)
        return loaded.config

    def _refuse(self, faults: list[str]) -> None:
        for fault in faults:
            self._log.error("reload refused, the old configuration stays", fault=fault)
        self._notifier.reloaded(f"reload refused; {self.status()}")

    def _pass_on(self, config: Config, opened: list[Place], *, back: bool = False) -> None:
        self.generation += 1
        waiting = {child.name for child in self._children.ready()}
        self._reload = _Reload(config, opened, time.monotonic() + self._patience_seconds, waiting, back=back)
        self._update(self._children.ready())
        self._go_on()

    def _go_on(self) -> None:
        """When all have the new configuration it is in force; when one could not take it, all go back."""
        reload = self._reload
        if reload is None or reload.waiting:
            return
        self._reload = None
        if reload.faults and not reload.back:
            self._listening.close(reload.opened)  # until every child has gone back, they are still open in some
            self._refuse(reload.faults)
            self._pass_on(self.config, [], back=True)
            return
        if not reload.back:
            self._put_into_force(reload.config)
        self._update(self._children.ready())
        self._begin()

    def _put_into_force(self, config: Config) -> None:
        self.config = config
        self._listening.close(self._listening.places() - set(places_of(config.listeners)))
        self.write_listeners()
        self._log.info("reloaded", listeners=len(self._listening.places()))
        self._notifier.reloaded(self.status())

    def write_listeners(self) -> None:
        """Write down which ports are open; a disk that is full ends no relay."""
        fault = write_listeners(self.config.data_dir / "run", self._listening.bound())
        if fault:
            self._log.warning("the list of open ports is out of date", error=fault)

    def _update(self, children: list[Child]) -> None:
        """Send the current configuration to those that have another one; who cannot be told starts with it."""
        for child in children:
            if child.generation != self.generation and not self._send(child, self.current()):
                self._children.kill(child)

    def _send(self, child: Child, config: Config) -> bool:
        """Send a configuration and the sockets that the child does not have yet."""
        assert child.channel is not None
        sockets = sockets_of(child, config, self._listening)
        new = [place for place in sockets if place not in child.held]
        child.held = set(sockets)
        child.generation = self.generation
        try:
            memory = to_memory_file(config)
        except OSError:
            return False
        try:
            opened = [[place.office, place.address, place.port] for place in new]
            message = {"op": "reload", "id": self.generation, "opened": opened}
            return child.channel.send(message, [memory, *(sockets[place].fileno() for place in new)])
        finally:
            os.close(memory)
