"""The permits process: what workers share, granted in leases over a unix socket; and the workers' side of it."""
