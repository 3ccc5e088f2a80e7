# shellcheck shell=sh
# What the four stages share. Sourced, not run.
#
# Each stage takes WORK (the folder all stages share) as its first argument. PACE is how long, in seconds, the slow part
# of a stage takes: the years of two stations are a few milliseconds of work, and nobody could watch that.

say() {
    printf '%s\n' "$*"
}

# The rows of a CSV file, its header not counted.
rows() {
    printf '%s' "$(($(wc -l <"$1") - 1))"
}

# The slow part, in the middle of writing, which is where crashes happen.
take_a_while() {
    sleep "${PACE:-0}"
}

# Where to write until the file is whole: beside its final place, named after the fencing token, so that a run that was
# paused and overtaken can never touch the file of the run that overtook it.
draft_of() {
    printf '%s.%s.draft' "$1" "${FLOWLOCK_TOKEN:-by-hand}"
}

# The file appears at its name whole or not at all.
publish() {
    mv -- "$(draft_of "$1")" "$1"
}
