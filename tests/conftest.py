"""What all tests share: generated examples are the same on every machine and in every run.

`make fuzz` looks for new ones; what it finds becomes an example (`@example`) or a test of its own.

Files run in an order that ends together: those that wait long come first, then those with a relay, then the rest.
Within a file the order is that of the file.
"""

import os
from pathlib import Path

from hypothesis import settings

SLOW = (  # 40 s to 15 s, on two cores that are busy
    "flow/test_shaping_over_workers.py",
    "flow/test_own_checks.py",
    "flow/test_large.py",
    "flow/test_mail_from.py",
    "flow/test_pools.py",
    "flow/test_shaping.py",
    "adversarial/test_dns.py",
    "adversarial/test_spool_faults.py",
    "flow/test_tls_reports.py",
    "flow/test_future_release.py",
    "flow/test_fair_shares.py",
    "flow/test_warm_up.py",
    "flow/test_warm_up_health.py",
    "adversarial/test_login.py",
    "adversarial/test_receiver_faults.py",
    "adversarial/test_receivers.py",
    "flow/test_sending_authorization.py",
    "cli/test_queue_commands.py",
    "cli/test_identity_commands.py",
    "adversarial/test_client_limits.py",
    "flow/test_scanners.py",
    "flow/test_queue_control.py",
    "unit/pipeline/test_attempt_receivers.py",
    "unit/pipeline/test_attempt_dns.py",
    "unit/net/test_resolver.py",
)
QUICK = ("unit", "docs", "contracts", "fuzz")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    items.sort(key=_rank)


def _rank(item):
    place = item.path.relative_to(TESTS)
    return SLOW.index(str(place)) if str(place) in SLOW else len(SLOW) + (place.parts[0] in QUICK)


settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
