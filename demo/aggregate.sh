#!/bin/sh
# aggregate.sh WORK STATION…: one row per month and station: rain, wet days, mean of the daily means, extremes.
set -eu
here=$(dirname -- "$0")
# shellcheck source=demo/stage-lib.sh
. "$here/stage-lib.sh"

work=$1
shift
out=$work/monthly.csv

say "adding up $# stations"
{
    printf 'month,station,days,rain_mm,wet_days,mean_c,high_c,low_c\n'
    for station in "$@"; do
        awk -F, '
            NR == 1 { next }
            {
                month = substr($2, 1, 7)
                if (!(month in days)) { high[month] = $4; low[month] = $5 }
                days[month]++
                rain[month] += $3
                if ($3 >= 1) wet[month]++
                mean[month] += ($4 + $5) / 2
                if ($4 > high[month]) high[month] = $4
                if ($5 < low[month]) low[month] = $5
            }
            END {
                for (month in days)
                    printf "%s,%s,%d,%.1f,%d,%.1f,%.1f,%.1f\n", month, station, days[month], rain[month], \
                        wet[month], mean[month] / days[month], high[month], low[month]
            }
        ' station="$station" "$work/clean-$station.csv"
    done | sort
} >"$(draft_of "$out")"
take_a_while
publish "$out"
say "$(rows "$out") rows"
