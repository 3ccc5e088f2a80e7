#!/bin/sh
# clean.sh WORK STATION: checks every day, drops what cannot be true, turns tenths into millimetres and degrees.
set -eu
here=$(dirname -- "$0")
# shellcheck source=demo/stage-lib.sh
. "$here/stage-lib.sh"

work=$1 station=$2
raw=$work/raw-$station.csv
out=$work/clean-$station.csv

say "checking $(rows "$raw") days of $station"
awk -F, -v OFS=, '
    # A whole number of tenths; the archive writes -9999 for "not measured".
    function measured(text) { return text ~ /^-?[0-9]+$/ && text != -9999 }
    function possible() {
        return $2 ~ /^[0-9][0-9][0-9][0-9][01][0-9][0-3][0-9]$/ && measured($3) && measured($4) && measured($5) \
            && $3 >= 0 && $4 >= $5 && $4 <= 600 && $5 >= -900 && !seen[$2]++
    }
    NR == 1     { print "station", "day", "rain_mm", "high_c", "low_c"; next }
    possible()  {
        day = substr($2, 1, 4) "-" substr($2, 5, 2) "-" substr($2, 7, 2)
        printf "%s,%s,%.1f,%.1f,%.1f\n", $1, day, $3 / 10, $4 / 10, $5 / 10
    }
' "$raw" >"$(draft_of "$out")"
take_a_while
publish "$out"
say "$(rows "$out") of $(rows "$raw") days kept"
