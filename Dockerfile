# One image for every process of ours: `python -m headrace flow NAME` or `run api NUMBER`.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir "uv>=0.13,<0.14"
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# Dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock README.md ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev --no-install-project
COPY schemas schemas
COPY online online
COPY flows flows
COPY serving serving
COPY replay replay
COPY headrace headrace
RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --no-dev --no-editable

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home headrace && install -d -o headrace -g headrace -m 0700 /data
COPY --from=build /app/.venv /app/.venv
# The environment is root's; compiled kernels are cached where our user may write.
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/home/headrace/.cache/numba HEADRACE_DATA_DIR=/data
USER headrace
WORKDIR /home/headrace
VOLUME /data
EXPOSE 8700
ENTRYPOINT ["python", "-m", "headrace"]
CMD ["--help"]
