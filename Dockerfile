# The relay in a container. Needs no other service.
#
#   docker build -t relay .
#   docker run --rm -v relay-etc:/etc/relay -v relay-data:/var/lib/relay relay init /etc/relay \
#       --data-dir /var/lib/relay --hostname mail.example.com
#   docker run -d --stop-timeout 50 -v relay-etc:/etc/relay -v relay-data:/var/lib/relay \
#       -p 587:2587 -p 465:2465 -p 25:2525 relay
#
# `init` makes listeners on loopback: set their address to 0.0.0.0 in /etc/relay/relay.yaml for -p to reach them.
# A package index other than pip's own: --build-arg PIP_INDEX_URL=...
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml requirements.lock ./
COPY tools/runtime_requirements.py tools/
# Everything is pinned by hash. The whole lock builds the package, only what the relay imports is shipped.
RUN python3 -m venv /build \
    && /build/bin/pip install --quiet --require-hashes -r requirements.lock \
    && /build/bin/python tools/runtime_requirements.py pyproject.toml requirements.lock > runtime.lock \
    && python3 -m venv /opt/relay \
    && /opt/relay/bin/pip install --quiet --require-hashes -r runtime.lock
COPY README.md LICENSE ./
COPY relay relay
COPY config/shaping config/shaping
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/relay/bin/pip install --quiet --no-deps --no-index dist/*.whl \
    && /opt/relay/bin/python -m pip uninstall --quiet --yes setuptools pip

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10025 --user-group --home-dir /var/lib/relay --shell /usr/sbin/nologin relay \
    && install -d -o relay -g relay -m 0700 /var/lib/relay /etc/relay
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:/usr/sbin:/usr/bin:/sbin:/bin RELAY_CONFIG=/etc/relay/relay.yaml PYTHONUNBUFFERED=1
USER relay
WORKDIR /var/lib/relay
VOLUME ["/etc/relay", "/var/lib/relay"]
EXPOSE 2587 2465 2525
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python3", "-m", "relay.runtime.health"]
ENTRYPOINT ["relay"]
CMD ["serve"]
