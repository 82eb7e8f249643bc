# Steps that the scripts in this folder share by sourcing it. README.md explains the variables.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${OUT:-runs-out}
SEEDS=${SEEDS:-0}
EXTRA=${EXTRA:-}
read -ra otomatch <<<"${OTOMATCH:-otomatch}"
read -ra extra <<<"${EXTRA//$'\n'/ }"
systems=() # label and report of every run, for the table

die() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

# varies FIELD...: fields that the script sets itself, so that EXTRA must not.
varies() {
  local field override
  for field in run.seed= data.path= "$@"; do
    for override in ${extra[@]+"${extra[@]}"}; do
      if [[ $override == "$field"* ]]; then
        die "EXTRA has $override, but this script chooses ${field%[.=]} itself (see README.md)"
      fi
    done
  done
}

# need NAME FOLDER VARIABLE: check that a data set is there.
need() {
  local fetch="otomatch data fetch $1 $2"
  [[ -d $2 ]] || die "no folder $2; set $3 to the folder of $1, or get it: $fetch"
  "${otomatch[@]}" data check "$1:$2" || die "$2 contains no usable $1; to get it: $fetch"
}

# train LABEL RUN CONFIG [OPTION...]: a run per seed, which otomatch train measures on the test split.
# A killed run is resumed; a finished one is only measured again.
train() {
  local label=$1 run=$2 config=$here/../configs/$3.toml seed override options
  shift 3
  for seed in $SEEDS; do
    options=(--set "run.seed=$seed")
    for override in ${extra[@]+"${extra[@]}"}; do
      options+=(--set "$override")
    done
    printf '\n== %s, seed %s\n' "$label" "$seed"
    "${otomatch[@]}" train --config "$config" --data "$data" --run "$OUT/$run/seed-$seed" \
      "$@" "${options[@]}"
    systems+=("$label" "$OUT/$run/seed-$seed/report.json")
  done
}

# compare_losses FOLDER CONFIG [OPTION...]: m-LTM with its file, and the baselines with their files
# and these options.
compare_losses() {
  local folder=$1 config=$2
  shift 2
  train "m-LTM" "$folder/m-ltm" "$config"
  train "triplet (hardest)" "$folder/triplet" audiocaps-triplet "$@"
  train "weighted triplet" "$folder/weighted-triplet" audiocaps-weighted-triplet "$@"
  train "NT-Xent" "$folder/nt-xent" audiocaps-ntxent "$@"
}

# classify DATA FOLDER: zero-shot classification by every model so far, whose reports replace the
# retrieval reports. A report of the same command on the same model is kept.
classify() {
  local data=$1 folder=$2 reports=() i run report model command
  for ((i = 0; i < ${#systems[@]}; i += 2)); do
    run=$(dirname "${systems[i + 1]}")
    model=$run/model
    report=$folder/$(basename "$(dirname "$run")")-$(basename "$run").json
    command=(zeroshot "$model" "$data" --json)
    if [[ ! $report -nt $model/model.safetensors || $(<"$report.command") != "${command[*]}" ]]; then
      mkdir -p "$folder"
      rm -f "$report"
      "${otomatch[@]}" "${command[@]}" >"$report.partial"
      printf '%s\n' "${command[*]}" >"$report.command"
      mv "$report.partial" "$report"
    fi
    reports+=("${systems[i]}" "$report")
  done
  systems=("${reports[@]}")
}

# show FIGURE: the measured figures beside the published ones.
show() {
  printf '\n'
  "${PYTHON:-python3}" "$here/table.py" "$1" "${systems[@]}" >"$OUT/$1.md.partial"
  mv "$OUT/$1.md.partial" "$OUT/$1.md"
  cat "$OUT/$1.md"
}
