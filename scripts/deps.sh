#!/bin/bash
# Installs the named Debian packages that are missing, and says which.
set -euo pipefail
missing=()
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "these Debian packages are missing, install them as root: ${missing[*]}" >&2
    exit 1
fi
echo "installing from Debian: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# A daemon that a package brings must not start by itself: tests start their own.
mkdir -p /usr/sbin
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
