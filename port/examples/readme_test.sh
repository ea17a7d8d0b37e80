#!/usr/bin/env bash
# port/README.md shows two_processes.cc as it is compiled and run.
set -euo pipefail
diff <(sed -n '/^```cpp$/,/^```$/p' port/README.md | sed '1d;$d') port/examples/two_processes.cc
