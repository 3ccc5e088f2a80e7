#!/bin/sh
# fetch.sh WORK STATION FROM TO: the station's days from FROM to TO (YYYYMM, both included) out of the archive.
set -eu
here=$(dirname -- "$0")
# shellcheck source=demo/stage-lib.sh
. "$here/stage-lib.sh"

work=$1 station=$2 from=$3 to=$4
out=$work/raw-$station.csv

say "downloading $station, $from to $to"
awk -F, -v station="$station" -v from="$from" -v to="$to" '
    NR == 1                                                        { print; next }
    $1 == station && substr($2, 1, 6) >= from && substr($2, 1, 6) <= to
' "$here/data/daily.csv" >"$(draft_of "$out")"
take_a_while
publish "$out"
say "$(rows "$out") days"
