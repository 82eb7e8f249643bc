#!/usr/bin/env bash
# Retrieval on AudioCaps: m-LTM with several values of epsilon.
#
#   DATA=data/audiocaps runs/audiocaps_epsilon.sh
#
# Takes about 13 hours on one GPU of 80 GB (an estimate, see README.md); EPSILONS="0.05 0.5" two
# fifths of that. If it is started again, it continues where it stopped. The table is printed at the
# end and written to $OUT/audiocaps_epsilon.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
varies loss.name= loss.epsilon=

DATA=${DATA:-data/audiocaps}
data=audiocaps:$DATA
need audiocaps "$DATA" DATA
for epsilon in ${EPSILONS:-0.01 0.03 0.05 0.1 0.5}; do
  train "m-LTM, epsilon $epsilon" "audiocaps_epsilon/$epsilon" audiocaps-resnet38-bert \
    --set "loss.epsilon=$epsilon"
done
show audiocaps_epsilon
