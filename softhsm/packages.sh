#!/bin/sh
# Installs the named Debian packages when one is missing: as root, or through sudo where it asks nothing.
# Otherwise it prints the one line to type and exits 78.
set -eu
missing=""
for package in "$@"; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    become=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    become="sudo"
else
    echo "Debian packages are missing:$missing" >&2
    echo "  try: sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 78
fi
echo "installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$become apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
$become apt-get install -y -qq --no-install-recommends $missing >/dev/null
