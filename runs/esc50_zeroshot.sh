#!/usr/bin/env bash
# Zero-shot classification of ESC-50 by models trained on AudioCaps with each loss.
#
#   DATA=data/audiocaps ESC50=data/esc-50 runs/esc50_zeroshot.sh
#
# Uses the models of audiocaps.sh in the same OUT, a few minutes for each; missing ones are trained,
# which takes as long as there. If it is started again, it continues where it stopped. The table is
# printed at the end and written to $OUT/esc50_zeroshot.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
varies loss.name=

DATA=${DATA:-data/audiocaps}
ESC50=${ESC50:-data/esc-50}
data=audiocaps:$DATA
need audiocaps "$DATA" DATA
need esc-50 "$ESC50" ESC50
compare_losses audiocaps audiocaps-resnet38-bert
classify "esc-50:$ESC50" "$OUT/esc50_zeroshot"
show esc50_zeroshot
