# The image of dispatcher and executor: `docker build -t temporal-runs .`, or what docker-compose.temporal.yml does.
# Where no package index can be reached, scripts/offline-images gives a BUILDER that has the wheels.
ARG BASE=python:3.11-slim-bookworm
ARG BUILDER=$BASE

FROM $BUILDER AS build
LABEL temporal-runs.stage=build
COPY . /source
RUN python3 -m venv /opt/temporal-runs && \
    /opt/temporal-runs/bin/python -m pip install --no-cache-dir --disable-pip-version-check /source && \
    /opt/temporal-runs/bin/python -m pip uninstall --yes --quiet pip setuptools

FROM $BASE
LABEL temporal-runs.stage=run
COPY --from=build /opt/temporal-runs /opt/temporal-runs
ENV PATH=/opt/temporal-runs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
# Root only where it is needed: docker-compose.temporal.yml and `docker run --user` say so.
USER 1000:1000
ENTRYPOINT ["temporal-runs"]
CMD ["--help"]
