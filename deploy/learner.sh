#!/bin/sh
# Where the course belongs to root: a learner's own copies of the chapters in ~/course/work, and
# beside them the course itself, to be read, so that links out of a chapter lead somewhere. Then the
# command that follows.
#
#   sh deploy/learner.sh jupyter lab
set -eu
course=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$HOME/course"
for path in "$course"/*; do
    link="$HOME/course/${path##*/}"
    # what is no link of ours is the learner's
    if [ "${path##*/}" != work ] && { [ -L "$link" ] || [ ! -e "$link" ]; }; then
        ln -sfn "$path" "$link"
    fi
done
export LRCOURSE_WORK="$HOME/course/work"
# a full disk, say: what is there can be opened all the same
python3 "$course/course.py" copies || echo "The copies are as they were." >&2
exec "$@"
