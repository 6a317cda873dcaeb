# Model Placer as an image.
#
#   docker build -t model-placer .                       the command, for Docker mode
#   docker build -t model-placer:server --target server \
#       --build-arg TRITON_IMAGE=nvcr.io/nvidia/tritonserver:25.10-py3 .     with a Triton inside
#
# Docker mode talks to the host's engine; models and store lie at the same path here and there:
#   docker run --rm -v /var/run/docker.sock:/var/run/docker.sock --network host --pid host \
#       --user "$(id -u)" --group-add "$(stat -c %g /var/run/docker.sock)" -v "$PWD:$PWD" -w "$PWD" \
#       model-placer profile -m "$PWD/models" --launch-mode docker
#
# Both run under a read-only root without capabilities: --read-only --tmpfs /tmp --cap-drop ALL.
#
# Where a build has no package index, put wheels of all that is needed (hatchling and pip too) into
# wheels/, and give PIP="python3 wheels/pip-26.0-py3-none-any.whl/pip" and
# PIP_OPTIONS="--no-index --find-links wheels" as build arguments.
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:25.10-py3
ARG PYTHON_IMAGE=python:3.12-slim

# Each target's environment is made by its own Python: they may differ in version.
FROM ${TRITON_IMAGE} AS server-environment
ARG PIP="python3 -m pip"
ARG PIP_OPTIONS=""
WORKDIR /source
COPY . .
# Without pip: neither Debian's Python nor Ubuntu's has `ensurepip`, and it is not needed later.
RUN python3 -m venv --without-pip /opt/model-placer \
 && ${PIP} --python /opt/model-placer/bin/python install --no-cache-dir --no-compile ${PIP_OPTIONS} .

FROM ${TRITON_IMAGE} AS server
COPY --from=server-environment /opt/model-placer /opt/model-placer
# Not on PATH: Triton's Python models would be run by its Python, without the image's packages.
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /work
# NVIDIA's image has an entry point that prints a banner to stdout, where results go.
ENTRYPOINT ["/opt/model-placer/bin/model-placer"]
CMD ["--help"]

FROM ${PYTHON_IMAGE} AS command-environment
ARG PIP="python3 -m pip"
ARG PIP_OPTIONS=""
WORKDIR /source
COPY . .
RUN python3 -m venv --without-pip /opt/model-placer \
 && ${PIP} --python /opt/model-placer/bin/python install --no-cache-dir --no-compile ${PIP_OPTIONS} .

# Last: what `docker build` makes by default.
FROM ${PYTHON_IMAGE} AS command
COPY --from=command-environment /opt/model-placer /opt/model-placer
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["/opt/model-placer/bin/model-placer"]
CMD ["--help"]
