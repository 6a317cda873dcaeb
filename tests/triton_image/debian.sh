#!/bin/sh
# A small Debian as a Docker image, from Debian's package index alone. Does nothing when it is there.
#
#     sh tests/triton_image/debian.sh trixie model-placer-debian:trixie python3
#
# Needs Docker, debootstrap and root (for debootstrap).
set -eu

suite=${1:?usage: debian.sh SUITE IMAGE PACKAGES}
image=${2:?usage: debian.sh SUITE IMAGE PACKAGES}
packages=${3:?usage: debian.sh SUITE IMAGE PACKAGES}

docker image inspect "$image" >/dev/null 2>&1 && exit 0
for tool in debootstrap docker; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
echo "Making $image" >&2
debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" >"$work/log" 2>&1 \
    || { tail -n 20 "$work/log" >&2; exit 1; }
rm -rf "$work/root/var/cache/apt" "$work/root/var/lib/apt/lists" \
    "$work/root/usr/share/doc" "$work/root/usr/share/locale" "$work/root/usr/share/man"
tar -C "$work/root" --numeric-owner -c . | docker import - "$image" >/dev/null
