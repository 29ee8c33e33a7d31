#!/bin/sh
# Installs torch for this machine: with CUDA where there is an NVIDIA GPU, else the CPU build, which is 15 times smaller.
#
#   sh infra/torch.sh PYTHON       the version that constraints.txt names
#   TORCH=cuda | TORCH=cpu         choose
#
# On Linux PyPI's torch brings several GB of CUDA. The CPU build is in PyTorch's own index; where that cannot be
# reached, another index is taken only if its torch asks for no CUDA package.
set -eu

python=$1
wanted=$(sed -n 's/^torch==\([^ ;]*\).*/torch==\1/p' constraints.txt)
pip() { "$python" -m pip --disable-pip-version-check "$@"; }

"$python" - "$wanted" <<'END' && exit 0
import importlib.metadata, sys
try:
    version = importlib.metadata.version("torch")
except importlib.metadata.PackageNotFoundError:
    sys.exit(1)
sys.exit(f"torch=={version.split('+')[0]}" != sys.argv[1])
END

choice=${TORCH:-}
[ -n "$choice" ] || { nvidia-smi >/dev/null 2>&1 && choice=cuda || choice=cpu; }
case $choice in
  cuda) exec "$python" -m pip --disable-pip-version-check install --quiet --constraint constraints.txt "$wanted" ;;
  cpu) ;;
  *) echo "TORCH=$choice: choose cuda or cpu" >&2; exit 2 ;;
esac

if pip install --quiet --no-deps --retries 0 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$wanted" \
  2>/dev/null; then exit 0; fi
report=$(mktemp)
trap 'rm -f "$report"' EXIT
pip install --quiet --no-deps --dry-run --ignore-installed --report "$report" "$wanted"
if "$python" -c 'import json, sys
needs = json.load(open(sys.argv[1]))["install"][0]["metadata"].get("requires_dist", [])
linux = sys.platform == "linux"
sys.exit(not any(linux and need.startswith(("nvidia-", "triton", "cuda-")) for need in needs))' "$report"; then
  cat >&2 <<END
missing: a CPU build of $wanted: PyTorch's index (download.pytorch.org) cannot be reached, and here torch brings CUDA
  for:   training without several GB of CUDA
  bring: a connection to download.pytorch.org, or TORCH=cuda make ... to take the large one
END
  exit 1
fi
pip install --quiet --constraint constraints.txt "$wanted"
