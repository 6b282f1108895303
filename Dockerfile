# Two images from one file: `web` (no torch; also for worker, beat and commands) and `gpu` (everything).
#   docker build --target web -t tenkaigen-web .
#   docker build --target gpu -t tenkaigen-gpu .

FROM python:3.11-slim-trixie AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PATH=/opt/venv/bin:$PATH DJANGO_SETTINGS_MODULE=tenkaigen.settings
# pg_dump and pg_restore for `manage.py backup` and `restore`; of the same version as the server in compose.yaml.
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client-17 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin tenkaigen
WORKDIR /app

FROM base AS web-packages
COPY requirements-web.txt constraints.txt ./
RUN python -m venv /opt/venv && pip install -r requirements-web.txt

FROM base AS gpu-packages
COPY requirements.txt requirements-web.txt constraints.txt ./
RUN python -m venv /opt/venv && pip install -r requirements.txt

FROM base AS source
COPY manage.py models.lock ./
COPY tenkaigen tenkaigen
COPY accounts accounts
COPY credits credits
COPY generation generation
COPY templates templates
COPY static static
# New named volumes take over the owner of the folder that they are mounted on.
RUN mkdir -p var/images var/models && chown -R tenkaigen:tenkaigen var

FROM source AS web
COPY --from=web-packages /opt/venv /opt/venv
# The values are for this one command; they name no server and are in no container.
RUN SECRET_KEY=only-for-collectstatic DATABASE_URL=postgres://x/x REDIS_URL=redis://x \
    python manage.py collectstatic --noinput
USER tenkaigen
EXPOSE 8000
ENV PORT=8000 WEB_CONCURRENCY=2
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "tenkaigen/healthcheck.py", "web"]
CMD ["gunicorn", "tenkaigen.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--threads", "4", "--timeout", "60", "--graceful-timeout", "30", "--max-requests", "20000", "--max-requests-jitter", "2000", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"]

FROM source AS gpu
COPY --from=gpu-packages /opt/venv /opt/venv
USER tenkaigen
HEALTHCHECK --interval=30s --timeout=5s --start-period=600s --retries=4 \
    CMD ["python", "-I", "tenkaigen/healthcheck.py", "connected", "DATABASE_URL"]
CMD ["python", "manage.py", "gpu_worker", "--device", "cuda:0"]
