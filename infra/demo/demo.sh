#!/bin/sh
# A crawl, the pipeline over it, a small model trained on its shards, and where everything lies: what `make demo`
# does once interloom is installed.
#
#   sh infra/demo/demo.sh BIN     BIN holds python, interloom and interloom-train
#   SITE=DIR | WARC=PATH_OR_URL   another crawl than the packaged one, with a run folder of its own
#   RUN=DIR                       another run folder
set -eu

bin=$1
if [ -n "${SITE:-}" ] && [ -n "${WARC:-}" ]; then
  echo "SITE=$SITE and WARC=$WARC: name one of them" >&2
  exit 2
fi

named=${SITE:-${WARC:-}} # each source has its own run: a folder that holds another run is refused
name=$(basename "${named:-run}" | tr -c 'A-Za-z0-9._\n-' '_')
run=${RUN:-demo/${named:+run-}$name}

if [ -n "${WARC:-}" ]; then crawl=$WARC
elif [ -n "${SITE:-}" ]; then crawl=$("$bin/python" -m infra.demo demo/crawl --site "$SITE")
else crawl=$("$bin/python" -m infra.demo demo/crawl)
fi

status=0
"$bin/interloom" run "$crawl" -o "$run" --no-fetch || status=$? # nobody is named whom servers could write to
[ $status -eq 0 ] || exit $status

case $run in
  */run) model=${run%/run}/model ;;
  *) model=$run-model ;;
esac
"$bin/interloom-train" fit --shards "$run" -o "$model" --config tiny

cat <<END

Where everything lies, in $run/:
  report.html                  the funnel, and documents as they read, with their pictures
  shards/*.tar                 documents and images, for webdataset; index/ says where each lies
  tables/                      documents, images and drops as Parquet
  documents/ images/ verdicts/ what was read, and why anything was dropped
and in $model/:
  samples.html                 held-out pictures, what the model wrote about them, and the truth
  checkpoints/                 the model; metrics.jsonl, evaluations.jsonl and tensorboard/ tell of it
The crawl: $crawl

  $bin/interloom stats $run                the funnel again
  $bin/interloom verify $run               is every file as it was written, every decision the same?
  $bin/interloom-train evaluate $model     the held-out loss again
  $bin/interloom-train data $model         the documents of a step, as the model gets them
A rerun of the same command goes on where it stopped.
END
