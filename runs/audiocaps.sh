#!/usr/bin/env bash
# Retrieval on AudioCaps: m-LTM and three baselines, one run each per seed.
#
#   DATA=data/audiocaps runs/audiocaps.sh
#
# Takes about 10 hours on one GPU of 80 GB (an estimate, see README.md), and an hour more the first
# time, to compute features. If it is started again, it continues where it stopped. The table is
# printed at the end and written to $OUT/audiocaps.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
varies loss.name=

DATA=${DATA:-data/audiocaps}
data=audiocaps:$DATA
need audiocaps "$DATA" DATA
compare_losses audiocaps audiocaps-resnet38-bert
show audiocaps
