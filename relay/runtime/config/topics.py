"""Settings of topics: how notifications are signed, and whom they may be delivered to."""

from typing import Literal

from relay.runtime.config.section import Section, setting
from relay.runtime.config.values import Duration, FilePath, Network, Number, OpenPort, Size


class Topics(Section):
    """Topics, and what is published to them."""

    signature_version: Literal[1, 2] = setting(
        1,
        "How notifications of new topics are signed: `1` is SHA1withRSA, which every consumer knows, `2` is "
        "SHA256withRSA. Each topic can be set to the other.",
    )
    certificate: FilePath | None = setting(
        None,
        "A certificate with an RSA key of 2048 bits or more, as PEM, to sign notifications with; its issuers may "
        "follow in the file. Without one the relay makes its own.",
        shown="none",
    )
    key: FilePath | None = setting(None, "The private key of `certificate`, mode 0600.", shown="none")
    certificate_rotation: Duration = setting(
        "365d",
        "How long a certificate that the relay made signs before the next one. Old ones are served for 30 days more.",
        ge=86400.0,
        le=700 * 86400.0,
    )
    ports: tuple[OpenPort, ...] = setting(
        (80, 443, 8080, 8443),
        "Ports that endpoints may have, unless their address lies in `private_networks`.",
        min_length=1,
        max_length=1000,
    )
    private_networks: tuple[Network, ...] = setting(
        (),
        "Networks with consumers of your own. Notifications are posted there at any port; to all other loopback, "
        "private and link-local addresses they never are.",
        max_length=1000,
    )
    ca_file: FilePath | None = setting(
        None, "Authorities that certificates of endpoints may come from beside those of the system, as PEM."
    )
    retry_delays_max: Duration = setting(
        "3600s", "How long the retries of a delivery policy may last together.", ge=0.0, le=30 * 86400.0
    )
    queue_file_size: Size = setting(
        "100MB", "Size at which the file of a local queue is renamed and a new one begun.", ge=4096
    )
    queue_files_kept: Number = setting(10, "Renamed files of a local queue that are kept.", ge=0, le=10_000)
