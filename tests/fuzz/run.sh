#!/usr/bin/env bash
# Fuzzes the parsers that meet outside bytes: run.sh MINUTES [TARGET]. What is found along the way and reaches code that
# nothing in corpus/ reached is added there; bytes that break a promise are left under artifacts/, and end the run.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly USAGE=64
readonly UNAVAILABLE=69
readonly HERE=tests/fuzz
# Larger inputs find little more, and take long.
readonly BYTES_MAX=4096
# Of what is found, so much is kept at most in a file of the corpus: it stands in the repository.
readonly KEPT_BYTES_MAX=70
# An input that takes longer, or more memory, is a finding.
readonly INPUT_S_MAX=20
readonly MEMORY_MIB_MAX=2048

minutes=$1
targets=${2:-$(basename -a -s .rs "$HERE"/fuzz_targets/*.rs)}

say() { echo "fuzz: $*" >&2; }

# None at all would be without an end.
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { say "MINUTES is a whole number of at least 1, not $minutes"; exit "$USAGE"; }
for target in $targets; do
    [ -e "$HERE/fuzz_targets/$target.rs" ] || { say "there is no target $target"; exit "$USAGE"; }
done
if ! cargo fuzz --version >/dev/null 2>&1; then
    say "cargo-fuzz is needed and not there; install it with: cargo install cargo-fuzz --locked"
    exit "$UNAVAILABLE"
fi

# No sanitizer: our code has no unsafe part, and without one any Rust does, not only a nightly one. What the programs do
# apart from that is what the product does. What is asserted, and where not, the profile says, which it would not be asked
# without --release.
fuzz() {
    local command=$1 target=$2
    shift 2
    cargo fuzz "$command" --fuzz-dir "$HERE" --release --sanitizer none --no-cfg-fuzzing --codegen-units 16 "$target" "$@"
}

# Adds to the corpus what reaches further than all of it.
keep() {
    local target=$1 short
    short=$(mktemp -d)
    find "$HERE/found/$target" -type f -size -$((KEPT_BYTES_MAX + 1))c -exec cp -t "$short" {} +
    fuzz run "$target" "$HERE/corpus/$target" "$short" -- -set_cover_merge=1 -max_len="$BYTES_MAX"
    rm -r "$short"
}

for target in $targets; do
    mkdir -p "$HERE/found/$target"
    say "$target, $minutes minutes"
    fuzz run "$target" "$HERE/found/$target" "$HERE/corpus/$target" -- \
        -max_total_time=$((minutes * 60)) -max_len="$BYTES_MAX" -timeout="$INPUT_S_MAX" \
        -rss_limit_mb="$MEMORY_MIB_MAX" -print_final_stats=1
    keep "$target"
done
say "done: see git status $HERE/corpus for what was added"
