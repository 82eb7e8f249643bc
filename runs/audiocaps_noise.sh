#!/usr/bin/env bash
# Retrieval on AudioCaps with 20, 40 and 60 % mismatched captions in training: five losses.
#
#   DATA=data/audiocaps runs/audiocaps_noise.sh
#
# Takes about 38 hours on one GPU of 80 GB (an estimate, see README.md); NOISES="0.4" a third of it.
# Without mismatched captions: audiocaps.sh. If it is started again, it continues where it stopped.
# The table is printed at the end and written to $OUT/audiocaps_noise.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
varies loss. schedule. mismatch. data.noise=

DATA=${DATA:-data/audiocaps}
data=audiocaps:$DATA
need audiocaps "$DATA" DATA
with() { # LOSS FOLDER CONFIG [OPTION...]
  train "noise $noise, $1" "audiocaps_noise/$noise/$2" "$3" --noise "$noise" "${@:4}"
}

for noise in ${NOISES:-0.2 0.4 0.6}; do
  with "NT-Xent" nt-xent audiocaps-ntxent
  with "triplet (hardest)" triplet audiocaps-triplet
  with "m-LTM" m-ltm audiocaps-resnet38-bert
  with "m-LTM, partial" partial audiocaps-noise
  with "m-LTM, trimmed (ours)" trimmed audiocaps-noise \
    --set loss.target=trimmed --set loss.mass=auto
done
show audiocaps_noise
