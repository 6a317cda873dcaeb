#!/bin/sh
# Makes the pictures of the documentation anew: the report of the founding case, and a figure of what
# `make demo` measured. Needs Chromium; as root: CHROMIUM="chromium --no-sandbox" docs/pictures.sh
set -eu
cd "$(dirname "$0")/.."
root=$PWD
export PATH="$root/.venv/bin:$PATH"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p docs/images
model-placer report --store demo/profiles.db --layout demo/layout.yaml -o "$work/demo.html" \
    --figures "$work/figures"
cp "$work"/figures/*ocr_detection-latency.svg docs/images/latency.svg
cd "$work"
model-placer import "$root/examples/founding-case/profiles.csv" --store founding.db
model-placer place --store founding.db --explain --answer answer.json -o layout.yaml
model-placer report --store founding.db --layout layout.yaml --placement answer.json
${CHROMIUM:-chromium} --headless --disable-gpu --hide-scrollbars --window-size=1100,1330 \
    --screenshot="$root/docs/images/report.png" "file://$work/report.html"
