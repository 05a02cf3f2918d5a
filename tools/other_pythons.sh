#!/usr/bin/env bash
# Runs the tests under another Python, with the newest of each package that it can have:
#
#   tools/other_pythons.sh 3.13                       # all tests
#   tools/other_pythons.sh 3.14 -m "not runs"         # what follows goes to pytest
#
# Takes python3.13 where this machine has one. Otherwise (Debian, as root) debootstrap
# puts the release of Debian that has it into a folder, and a chroot runs it: trixie has
# 3.13, sid 3.14. Folders are kept below $OTHER_PYTHONS, /var/tmp/fskd_jax_pythons if
# unset. Works on a copy of the checkout.
set -euo pipefail
version=${1:?which Python, as 3.13}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
home=${OTHER_PYTHONS:-/var/tmp/fskd_jax_pythons}
shared=${FSKD_SHARED:-$root/../shared}
release=$([ "$version" = 3.14 ] && echo sid || echo trixie)
place=$home/$version
inside=()
if command -v "python$version" >/dev/null && "python$version" --version >/dev/null 2>&1
then
  mkdir -p "$place"
else
  if [ ! -x "$place/usr/bin/python$version" ]; then
    command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap
    mkdir -p "$home"
    debootstrap --variant=minbase --include="python$version-venv,ca-certificates,git,make" \
      "$release" "$place" http://deb.debian.org/debian
    cp /etc/ssl/certs/ca-certificates.crt "$place/etc/ssl/certs/"
    # Processes find each other by the name of this host.
    cp /etc/resolv.conf /etc/hosts /etc/hostname "$place/etc/"
  fi
  mountpoint -q "$place/dev" || mount --rbind /dev "$place/dev" # shared memory
  mountpoint -q "$place/proc" || mount -t proc proc "$place/proc"
  trap 'umount -l "$place/proc" "$place/dev"' EXIT
  inside=(chroot "$place")
fi
# Paths as the program sees them; outside of a chroot they are below the folder.
seen=$([ ${#inside[@]} -gt 0 ] && echo /work || echo "$place/work")
work=$place/work
mkdir -p "$work"
rm -rf "$work/checkout"
git clone --quiet "$root" "$work/checkout"
[ ! -d "$shared" ] || [ -e "$work/shared" ] || cp -r "$shared" "$work/shared"
python=$seen/venv/bin/python
"${inside[@]}" env PIP_CERT=/etc/ssl/certs/ca-certificates.crt bash -euc "
  [ -x $python ] || python$version -m venv $seen/venv
  cd $seen/checkout
  $python -m pip install --quiet --upgrade pip
  $python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[dev,tensorflow]'
  $python -m pip list | grep -iE '^(jax|jaxlib|flax|optax|orbax-checkpoint|numpy|grain|tensorflow.*) '
"
arguments=$(printf '%q ' "${@:--q}")
"${inside[@]}" env JAX_PLATFORMS=cpu bash -euc "
  cd $seen/checkout
  exec $python -m pytest -n 2 --dist loadfile -p no:cacheprovider $arguments
"
