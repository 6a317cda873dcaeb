# Model Placer as an image, of two kinds:
#
#   docker build -t model-placer .                       the command, for Docker mode
#   docker build -t model-placer:server --target server \
#       --build-arg TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.09-py3 .     with a Triton inside
#
# docs/docker.md says how they are run. Both start under a read-only root without capabilities
# (--read-only --tmpfs /tmp --cap-drop ALL) and are not root. Neither has a HEALTHCHECK: a command
# ends by itself, and its exit status says how it went.
#
# Where a build has no package index, put wheels of all that is needed (hatchling and pip too) into
# wheels/, and give PIP="python3 wheels/pip-26.0-py3-none-any.whl/pip" and
# PIP_OPTIONS="--no-index --find-links wheels" as build arguments.
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.09-py3
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# Each target's environment is made by its own Python: they may differ in version.
FROM ${TRITON_IMAGE} AS server-environment
LABEL model-placer.stage=environment
ARG PIP="python3 -m pip"
ARG PIP_OPTIONS=""
# `[perf-analyzer]` where Triton's image has glibc 2.38 (Ubuntu 24.04: from release 24.11 on).
ARG EXTRAS=""
WORKDIR /source
COPY . .
# Without pip: neither Debian's Python nor Ubuntu's has `ensurepip`, and it is not needed later.
# Without the tests of pandas and NumPy, a fifth of it all. Compiled: a read-only root keeps nothing,
# so that each start would compile anew, a second of `place`.
RUN python3 -m venv --without-pip /opt/model-placer \
 && ${PIP} --python /opt/model-placer/bin/python install --no-cache-dir --no-compile ${PIP_OPTIONS} ".${EXTRAS}" \
 && find /opt/model-placer/lib -type d -name tests -prune -exec rm -r {} + \
 && python3 -m compileall -q -j 0 /opt/model-placer/lib

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
LABEL model-placer.stage=environment
ARG PIP="python3 -m pip"
ARG PIP_OPTIONS=""
ARG EXTRAS="[perf-analyzer]"
WORKDIR /source
COPY . .
RUN python3 -m venv --without-pip /opt/model-placer \
 && ${PIP} --python /opt/model-placer/bin/python install --no-cache-dir --no-compile ${PIP_OPTIONS} ".${EXTRAS}" \
 && find /opt/model-placer/lib -type d -name tests -prune -exec rm -r {} + \
 && python3 -m compileall -q -j 0 /opt/model-placer/lib

# Last: what `docker build` makes by default.
FROM ${PYTHON_IMAGE} AS command
COPY --from=command-environment /opt/model-placer /opt/model-placer
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PATH=/opt/model-placer/bin:/usr/local/bin:/usr/bin:/bin
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["model-placer"]
CMD ["--help"]
