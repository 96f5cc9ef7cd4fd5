# The collector. nginx shares the *directory* of the socket with it, never the socket file:
#   docker run -v /run/resty-metrics:/run/resty-metrics -v resty-metrics:/var/lib/resty-metrics -p 19145:19145 resty-metrics
FROM docker.io/library/python:3.13-slim-bookworm AS build

WORKDIR /src
COPY requirements/ requirements/
RUN python3 -m venv /build \
    && /build/bin/pip install --quiet --require-hashes --requirement requirements/build.txt \
    && python3 -m venv --without-pip /opt/resty-metrics \
    && /build/bin/pip --python /opt/resty-metrics/bin/python install --quiet --require-hashes \
        --requirement requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY collector/ collector/
COPY lua/ lua/
COPY nginx.conf.d/ nginx.conf.d/
COPY grafana/ grafana/
COPY prometheus/ prometheus/
COPY docs/runbook.md docs/
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/resty-metrics/bin/python install --quiet --no-deps --no-index /wheels/*.whl \
    && find /opt/resty-metrics -type f \( -name '*.c' -o -name '*.h' -o -name '*.p[xy][xid]' \) -delete

FROM docker.io/library/python:3.13-slim-bookworm

# 101 is the user nginx of the official nginx image: by that name the collector knows it, whatever else it is told.
RUN groupadd --gid 10001 resty-metrics \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin resty-metrics \
    && useradd --uid 101 --gid nogroup --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin nginx \
    && install --directory --owner=10001 --group=10001 --mode=0755 /run/resty-metrics /var/lib/resty-metrics
COPY --from=build /opt/resty-metrics /opt/resty-metrics

ENV PATH=/opt/resty-metrics/bin:$PATH
USER 10001:10001
VOLUME ["/run/resty-metrics", "/var/lib/resty-metrics"]
EXPOSE 19145
HEALTHCHECK --interval=30s --timeout=5s CMD ["resty-metrics", "healthcheck"]
LABEL org.opencontainers.image.title=resty-metrics \
    org.opencontainers.image.description="Request metrics of OpenResty and nginx for Prometheus" \
    org.opencontainers.image.licenses=Apache-2.0
ENTRYPOINT ["resty-metrics"]
CMD ["serve"]
