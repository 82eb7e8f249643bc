#!/usr/bin/env bash
# Retrieval on Clotho: m-LTM and three baselines, one run each per seed.
#
#   DATA=data/clotho runs/clotho.sh
#
# Takes about 11 hours on one GPU of 141 GB (an estimate, see README.md); on one of 80 GB,
#
#   EXTRA="optim.batch=128" DATA=data/clotho runs/clotho.sh
#
# If it is started again, it continues where it stopped. The table is printed at the end and written
# to $OUT/clotho.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
varies loss.name=

DATA=${DATA:-data/clotho}
data=clotho:$DATA
need clotho "$DATA" DATA
# The files of the baselines are for AudioCaps; m-LTM's file for Clotho differs in these fields.
compare_losses clotho clotho-resnet38-bert \
  --set model.window_seconds=30.0 --set optim.epochs=150 --set augment.time_share=0.028
show clotho
