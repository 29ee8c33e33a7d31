#!/bin/sh
# What `make` needs of a machine, asked before anything is installed. Plain sh: Python may be what lacks.
#
#   sh infra/preflight.sh MEGABYTES        names each missing tool and the command that brings it
#   sh infra/preflight.sh python           prints the Python that will be used
#   sh infra/preflight.sh network PYTHON   tries a small package with that environment's pip
#
# Ends with 1 where something lacks. PYTHON=... names an interpreter instead of searching for one.
set -u

missing=0

lacks() { # what, why, command
  printf 'missing: %s\n' "$1" >&2
  printf '  for:   %s\n  bring: %s\n' "$2" "$3" >&2
  missing=1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then printf '%s' "$1"; else printf 'sudo %s' "$1"; fi
}

# The command that brings a tool, in the words of this system's package manager.
bring() { # Debian, Fedora, Alpine, Arch, Homebrew
  if command -v apt-get >/dev/null; then as_root "apt-get install -y $1"
  elif command -v dnf >/dev/null; then as_root "dnf install -y $2"
  elif command -v apk >/dev/null; then as_root "apk add $3"
  elif command -v pacman >/dev/null; then as_root "pacman -S --noconfirm $4"
  elif command -v brew >/dev/null; then printf 'brew install %s' "$5"
  else printf '%s' "your system's package for it ($1 on Debian); Python also from https://www.python.org/downloads/"
  fi
}

new_enough() { # a name on PATH may be a shim that does not run: only running it tells
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# 3.11 first: constraints.txt was resolved with it, and workers run it.
find_python() {
  for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
    if new_enough "$candidate"; then printf '%s\n' "$candidate"; return 0; fi
  done
  return 1
}

check_python() {
  if ! python=$(find_python); then
    found=$(${PYTHON:-python3} --version 2>&1 | head -n 1)
    lacks "Python 3.11 or newer (${PYTHON:-python3}: ${found:-not found})" "everything" \
      "$(bring 'python3 python3-venv' python3.11 python3 python python@3.11)"
  elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    # Debian packs these two apart from Python itself
    lacks "the venv module of $python" "an environment of the project's own, .venv" \
      "$(bring python3-venv python3.11 python3 python python@3.11)"
  fi
}

check_disk() { # megabytes
  free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')
  if [ "$free" -lt "$1" ]; then
    lacks "disk space: $free MB are free here, $1 MB are needed" "packages, crawl and run" \
      "free $(($1 - free)) MB, or move this folder to a larger disk"
  fi
}

check_network() { # interpreter of an environment
  at=$(mktemp -d)
  if ! said=$("$1" -m pip --disable-pip-version-check download --quiet --no-deps --dest "$at" iniconfig 2>&1); then
    printf '%s\n' "$said" | tail -n 3 >&2
    lacks "a package index that pip can reach" "installing what constraints.txt lists" \
      "a connection to https://pypi.org, or export PIP_INDEX_URL=<your mirror>, or export https_proxy=<your proxy>"
  fi
  rm -rf "$at"
}

case "${1:-}" in
  python) find_python || { check_python; exit 1; } ;;
  network) check_network "$2" ;;
  *[!0-9]* | "") echo "usage: sh infra/preflight.sh MEGABYTES | python | network PYTHON" >&2; exit 2 ;;
  *)
    command -v make >/dev/null || lacks make "make demo, make test" "$(bring make make make make make)"
    check_python
    check_disk "$1"
    ;;
esac
exit $missing
