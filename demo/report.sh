#!/bin/sh
# report.sh WORK: the months side by side, as a Markdown table with a bar for the rain.
set -eu
here=$(dirname -- "$0")
# shellcheck source=demo/stage-lib.sh
. "$here/stage-lib.sh"

work=$1
out=$work/report.md

say "writing the report"
awk -F, '
    function bar(mm,   i, text) {
        text = ""
        for (i = 0; i < mm / 10; i++) text = text "#"
        return text
    }
    BEGIN {
        print "| month   | station  | mean °C | low … high °C  | wet days | rain mm |                               |"
        print "|---------|----------|--------:|---------------:|---------:|--------:|-------------------------------|"
    }
    NR > 1 {
        printf "| %s | %-8s | %7.1f | %5.1f … %5.1f  | %8d | %7.1f | %-29s |\n", $1, $2, $6, $8, $7, $5, $4, bar($4)
        rain[$2] += $4
        wet[$2] += $5
    }
    END {
        print ""
        for (station in rain)
            printf "%s: %.0f mm of rain on %d wet days.\n", station, rain[station], wet[station] | "sort"
    }
' "$work/monthly.csv" >"$(draft_of "$out")"
take_a_while
publish "$out"
say "done: report.md"
