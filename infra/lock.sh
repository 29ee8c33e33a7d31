#!/bin/sh
# Writes constraints.txt: what the dev extra resolves to in an environment of its own, made and thrown away.
#
#   sh infra/lock.sh PYTHON
#
# Only names and versions: no index, no host, no path, so it holds with any mirror and plain pip.
# Pins of another platform's or Python's packages do no harm: a constraint installs nothing. Only a package
# of which another Python needs another version gets a marker, below.
set -eu

python=$1
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"$python" -m venv "$room/venv"
sh infra/torch.sh "$room/venv/bin/python" # by the version that constraints.txt has: change it there first
"$room/venv/bin/python" -m pip --disable-pip-version-check install --quiet '.[dev]'
# a build's own mark, as in 2.13.0+cpu, is not of every index
"$room/venv/bin/python" -m pip --disable-pip-version-check freeze --exclude interloom | sed 's/^\(torch==[^+]*\)+.*/\1/' \
  >"$room/frozen"
if grep -n -E '@|://' "$room/frozen"; then
  echo "constraints.txt is names and versions, but these came from a place: install them from an index" >&2
  exit 1
fi
if grep -i -E '^(nvidia-.*|triton)==' "$room/frozen"; then
  echo "the dev extra brings CUDA (see above), several GB: find what asks for it, and leave that out" >&2
  exit 1
fi
{
  echo "# Made by 'make lock' with Python $("$python" -c 'import platform; print(platform.python_version())'):"
  echo "# what the dev extra resolved to. Used as: pip install --constraint constraints.txt ..."
  # Beam's gcp extra wants 0.5.31 below Python 3.13 and 0.5.35 from there on
  sed 's/^google-apitools==.*/&; python_version < "3.13"/' "$room/frozen"
} >constraints.txt
echo "constraints.txt: $(wc -l <"$room/frozen") packages"
