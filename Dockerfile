# One image for every role: the web server by default, `vk-comments worker` and `vk-comments migrate` by command.
#
# The server listens inside of the container only, until it is told to ask its clients for keys:
#   docker run -p 127.0.0.1:8000:8000 -e HOST=0.0.0.0 -e AUTH=keys -e API_KEYS=<16-characters-or-more> -e VK_TOKENS=... vk-comments
# A worker listens nowhere; give it --health-cmd="vk-comments worker --check".

FROM node:22-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM python:3.11-slim AS packages
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/vk-comments vk-comments \
 && install --directory --owner=vk-comments --mode=0700 /var/lib/vk-comments/exports
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/vk-comments
COPY app/ app/
COPY schema/ schema/
COPY migrations/ migrations/
COPY pyproject.toml LICENSE README.md ./
COPY --from=web /src/app/pages/ app/pages/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PORT=8000 \
    LOG_FORMAT=json \
    DATA_DIR=/var/lib/vk-comments
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .
USER vk-comments
VOLUME /var/lib/vk-comments
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health/ready\", timeout=4)"]
CMD ["vk-comments", "serve"]
