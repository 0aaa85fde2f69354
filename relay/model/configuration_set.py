"""Configuration sets as far as sending needs them: whether and how their mail may leave (CFG-*)."""

from dataclasses import dataclass
from enum import StrEnum

from relay.model.finding import Enforcement
from relay.model.message import WEIGHT_DEFAULT

MAX_DELIVERY_SECONDS = (300, 50_400)  # the range of MaxDeliverySeconds; 0 here means the relay's own lifetime


class TlsPolicy(StrEnum):
    """Whether mail of a set may leave in clear (TLS-004)."""

    OPTIONAL = "OPTIONAL"
    REQUIRE = "REQUIRE"


class HttpsPolicy(StrEnum):
    """How tracking links of a set are served."""

    OPTIONAL = "OPTIONAL"
    REQUIRE = "REQUIRE"
    REQUIRE_OPEN_ONLY = "REQUIRE_OPEN_ONLY"


class Priority(StrEnum):
    """Whether mail of a set is bulk, which waits behind transactional mail; AUTO: as each message says."""

    AUTO = "AUTO"
    TRANSACTIONAL = "TRANSACTIONAL"
    BULK = "BULK"


@dataclass(frozen=True, slots=True)
class ConfigurationSet:
    """A configuration set of an account.

    `max_delivery_seconds` is 0 for the relay's own lifetime, `sending_pool` "" for the default pool.
    `suppressed_reasons` is None where the account's list counts as it is, else the reasons that count (maybe none).
    `weight` is its share of the account's mail beside other sets.
    `engaged` says that its recipients are known to want its mail.
    `engagement_metrics` and `optimized_delivery` are its VdmOptions (VDM-003), None: as the account.
    `enforcement` is what the relay has taken from it, and `fresh_start_ms` from when on its rates count, 0: always;
    neither is changed with the set.
    """

    account: str
    name: str
    sending_enabled: bool = True
    reputation_metrics: bool = False
    tls_policy: TlsPolicy = TlsPolicy.OPTIONAL
    sending_pool: str = ""
    max_delivery_seconds: int = 0
    suppressed_reasons: tuple[str, ...] | None = None
    redirect_domain: str = ""
    https_policy: HttpsPolicy = HttpsPolicy.OPTIONAL
    created_ms: int = 0
    priority: Priority = Priority.AUTO
    weight: int = WEIGHT_DEFAULT
    engaged: bool = False
    enforcement: Enforcement = Enforcement.NONE
    fresh_start_ms: int = 0
    engagement_metrics: bool | None = None
    optimized_delivery: bool | None = None

    @property
    def may_send(self) -> bool:
        """True while neither its own switch nor enforcement stops it (CFG-009, PAUSE-007)."""
        return self.sending_enabled and self.enforcement is Enforcement.NONE
