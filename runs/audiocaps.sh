#!/usr/bin/env bash
# Retrieval on AudioCaps: m-LTM and three baselines, one training of each for every seed.
#
#   DATA=data/audiocaps runs/audiocaps.sh
#
# Takes about 10 hours on one GPU of 80 GB (an estimate, see README.md), and an hour more the first
# time, for the features. Started again, it goes on where it stopped. The table comes last, and is
# kept in $OUT/audiocaps.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
varies loss.name=

DATA=${DATA:-data/audiocaps}
data=audiocaps:$DATA
need audiocaps "$DATA" DATA
compare_losses audiocaps audiocaps-resnet38-bert
show audiocaps
