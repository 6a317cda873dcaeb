#!/bin/sh
# Build a Docker image with a real Triton and the example models, from Debian's and Python's
# package indexes alone: NVIDIA's registry is not needed.
#
#     sh tests/triton_image/build.sh model-placer-triton:test
#
# Does nothing when the image is there and was built by this recipe. Needs Docker, debootstrap,
# pip and root (for debootstrap).
set -eu

image=${1:?usage: build.sh IMAGE}
here=$(cd "$(dirname "$0")" && pwd)
recipe=$(cat "$here/build.sh" "$here/debian.sh" "$here/Dockerfile" | sha256sum | cut -c1-16)
label=model-placer.recipe

found=$(docker image inspect --format "{{ index .Config.Labels \"$label\" }}" "$image" 2>/dev/null || true)
if [ "$found" = "$recipe" ]; then
    echo "$image is there" >&2
    exit 0
fi
python=${PYTHON:-python3}
for tool in docker "$python"; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done

base=model-placer-debian:bookworm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

sh "$here/debian.sh" bookworm "$base" python3,python3-numpy,libpython3.11,ca-certificates

mkdir -p "$work/context"
cp "$here/Dockerfile" "$work/context"
# For the image's Python, not for this one.
"$python" -m pip install --quiet --disable-pip-version-check --target "$work/context/site-packages" \
    --no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_35_x86_64 --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    nvidia-pytriton==0.7.0 onnxruntime flatbuffers packaging protobuf \
    rapidocr-onnxruntime==1.4.4 silero-vad==6.2.3 magika==1.0.3
echo "Making $image" >&2
DOCKER_BUILDKIT=0 docker build --quiet --build-arg BASE="$base" --label "$label=$recipe" \
    --tag "$image" "$work/context" >/dev/null
