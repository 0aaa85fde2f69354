"""Which files of effects this release keeps (`relay.ports.Applier`); each is made here from the process's context."""

from collections.abc import Callable, Sequence

from relay.ports import Applier
from relay.runtime.children import ChildContext

ApplierFactory = Callable[[ChildContext], Applier]


def default_appliers() -> Sequence[ApplierFactory]:
    """Return the makers of all appliers."""
    from relay.runtime.events.desk import metrics_applier  # noqa: PLC0415 (tests of the life need no storage)

    return (_suppression, _statistics, metrics_applier, _archive)


def _suppression(context: ChildContext) -> Applier:
    from relay.runtime import settings  # noqa: PLC0415
    from relay.store.suppression_applier import SuppressionApplier  # noqa: PLC0415

    config = context.config
    return SuppressionApplier(config.data_dir, settings.master_key(config.data_dir), config.hostname, context.metrics)


def _statistics(context: ChildContext) -> Applier:
    from relay.runtime.events.counting import CountingApplier  # noqa: PLC0415 (tests of the process need no storage)

    return CountingApplier(context)


def _archive(context: ChildContext) -> Applier:
    from relay.runtime.events.archive import archive_applier  # noqa: PLC0415

    return archive_applier(context)
