#!/usr/bin/env bash
# Builds an image from a release binary.
#   images/build.sh BINARY IMAGE:TAG
set -euo pipefail
binary=${1:?usage: images/build.sh BINARY IMAGE:TAG} image=${2:?usage: images/build.sh BINARY IMAGE:TAG}
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$here/rootfs.sh" "$binary" "$root/root"
# The classic builder needs no helper image and no network for a FROM scratch build.
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --quiet --file "$here/$(basename "$binary").Dockerfile" --tag "$image" "$root/root" >/dev/null 2>&1 ||
	DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --file "$here/$(basename "$binary").Dockerfile" --tag "$image" "$root/root"
echo "built $image from $(basename "$binary")"
