# Write what comes in to a job's log, and on to the terminal or the scheduler's own log.
#
# Snakemake removes a log before each attempt at its job, so what earlier ones said is kept under a
# second name. Where the file system has no hard links, or no room, the log is of this attempt alone.
set -u
all=".maml/$1"
(mkdir -p "$(dirname "$all")" && touch "$all" && ln -f "$all" "$1") 2> /dev/null || all="$1"
exec tee -a "$all" >&2
