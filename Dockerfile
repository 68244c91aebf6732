# The main job in a container:
#
#     docker build --tag time-machine-lm .
#     docker run --rm --volume time-machine-lm:/home/lab/time-machine-lm/mlruns time-machine-lm
#
# The volume keeps what is recorded. Any other command: docker run ... time-machine-lm .venv/bin/tmlm sample latest
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home lab
USER lab
WORKDIR /home/lab/time-machine-lm

# For a GPU, build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=$TORCH_INDEX PIP_NO_CACHE_DIR=1

# For a cluster, as docs/cluster/compose.yaml has it, build with --build-arg EXTRAS=[cluster]
ARG EXTRAS=

COPY --chown=lab . .
RUN make .venv/.ready

CMD ["make", "run"]
