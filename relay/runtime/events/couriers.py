"""Who delivers what waits: a courier for each kind of target, made from the configuration."""

from dataclasses import dataclass
from typing import Final

from relay.events import stream as streaming
from relay.events.bus import Bus, BusCourier
from relay.events.dispatcher import AnyCourier
from relay.events.kafka import KafkaSink
from relay.events.stream import DirectoryStore, FileSink, Sink, Stream, StreamCourier
from relay.net.endpoints import Endpoints
from relay.net.guard import Guard
from relay.net.resolver import DnsResolver
from relay.ports import Clock, Resolver
from relay.ports.events import Gathering
from relay.runtime import settings
from relay.runtime.buckets import bucket_store
from relay.runtime.children import ChildContext
from relay.runtime.config.model import Config
from relay.runtime.config.publishing import Bus as BusConfig
from relay.runtime.config.publishing import Stream as StreamConfig

KAFKA_COUNT_MAX: Final = 1000  # records on their way at a time
WEB_PORTS: Final = (80, 443)


@dataclass(frozen=True, slots=True)
class Couriers:
    """Couriers by kind of target, and what they hold open."""

    by_kind: dict[str, AnyCourier]
    endpoints: tuple[Endpoints, ...] = ()
    kafka: tuple[KafkaSink, ...] = ()

    async def close(self) -> None:
        """Close connections."""
        for one in self.endpoints:
            one.close()
        for sink in self.kafka:
            await sink.close()


def make_couriers(context: ChildContext, config: Config, clock: Clock) -> Couriers:
    """Return all couriers. Raise ConfigurationError when a secret cannot be read or an extra is not installed."""
    sinks = {stream.name: _sink(config, stream) for stream in config.streams}
    streams = {stream.name: Stream(_gathering(stream), sinks[stream.name]) for stream in config.streams}
    resolver = DnsResolver(settings.resolver_settings(config), clock, context.metrics)
    posters = {bus.name: _endpoints(bus, resolver) for bus in config.buses}
    buses = {
        bus.name: Bus(
            bus.url,
            posters[bus.name],
            bus.parallel,
            settings.secret_of(bus.secret, bus.secret_file, f"the bus {bus.name}"),
        )
        for bus in config.buses
    }
    couriers: dict[str, AnyCourier] = {
        StreamCourier.kind: StreamCourier(streams),
        BusCourier.kind: BusCourier(buses, config.region, clock),
    }
    kafka = tuple(sink for sink in sinks.values() if isinstance(sink, KafkaSink))
    return Couriers(couriers, tuple(posters.values()), kafka)


def _gathering(stream: StreamConfig) -> Gathering:
    count = KAFKA_COUNT_MAX if stream.type == "kafka" else streaming.COUNT_MAX
    return Gathering(stream.batch_size, stream.batch_age, count)


def _sink(config: Config, stream: StreamConfig) -> Sink:
    if stream.type == "kafka":
        return KafkaSink(stream.brokers, stream.topic)
    if stream.type == "bucket":
        store: streaming.Store = bucket_store(stream)
    else:
        store = DirectoryStore(config.stream_directory(stream), stream.name)
    sealer = settings.stream_sealer(stream)
    return FileSink(stream.name, store, prefix=stream.prefix, compressed=stream.gzip, sealer=sealer)


def _endpoints(bus: BusConfig, resolver: Resolver) -> Endpoints:
    """Return what posts to a bus; its port was judged with the configuration."""
    return Endpoints(
        resolver,
        Guard(allow_private=bus.allow_private).judge,
        ports=WEB_PORTS,
        trusted=lambda _address: True,
        ca_file=str(bus.ca_file or ""),
        seconds_max=bus.timeout,
    )
