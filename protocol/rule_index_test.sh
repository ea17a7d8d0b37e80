#!/usr/bin/env bash
# Each rule is found by its id: a line that carries it out, a property or test that names it
# alone, a live case or a story. Nothing of this is kept in a list.
# Arguments: rule_index.py, README.md, all files that name rules.
set -uo pipefail
index=$(realpath "$1")
readme=$2
shift 2
failures=0

# A canary, or the check itself is blind: a repository of four files and one rule.
make_canary() {
  mkdir -p protocol port props oracle/suite
  echo '| FRG-1 | MUST | X | One. |' >protocol/README.md
  printf '// Head.\n#include <cstdint>\nint one = 1;  // FRG-1\n' >port/code.cc
  printf '#include <cstdint>\n// FRG-1\nTEST(One, Two) {\n}\n' >props/one_prop.cc
  echo 'Add("FRG-1/one");' >oracle/suite/cases_one.cc
}

# lacks WHAT COMMAND: what the check says of the canary once the command has changed it.
lacks() {
  local said status=0 wanted=0
  said=$(
    cd "$(mktemp -d)" && make_canary && eval "$2" || exit 9
    mapfile -t files < <(find port props oracle -type f)
    python3 "$index" check protocol/README.md "${files[@]}"
  ) || status=$?
  [ -z "$1" ] || wanted=1
  [ "$status" -eq "$wanted" ] && { [ -z "$1" ] || [ "$said" = "$1" ]; } && return
  failures=$((failures + 1))
  printf 'rule_index_test is blind: after %s\nit says: %s\nnot: %s\n' "$2" "$said" "${1:-nothing}"
}

no_line='FRG-1: no line of protocol/ or port/ that names it'
no_test='FRG-1: no property and no test that names it alone'
no_case='FRG-1: no live case, no story, and no reason in oracle/suite/case.cc'
code() { printf '// Head: FRG-1.\n#include <cstdint>\n%s\n' "$1" >port/code.cc; }
property() { printf '// Head: FRG-1.\n#include <cstdint>\n%b\n' "$1" >props/one_prop.cc; }

lacks '' :
lacks "$no_line" 'code ""'
lacks "$no_line" 'code "int one = 1;  // FRG-11"'
lacks "$no_line" 'code "// FRG-1, FRG-2, FRG-3, FRG-4"'
lacks "$no_line" 'code "return Rule::kFrg10;"'
lacks '' 'code "return Rule::kFrg1;"'
lacks '' 'code "" && mv port/code.cc port/one_test.cc && code "return Rule::kFrg1;"'
lacks "$no_line" 'code "return Rule::kFrg1;" && mv port/code.cc port/code_test.cc'

lacks "$no_test" 'property ""'
lacks "$no_test" 'property "// FRG-1, FRG-2\nTEST(One, Two) {\n}"'
lacks "$no_test" 'property "// FRG-1\n\nTEST(One, Two) {\n}"'
lacks "$no_test" 'property "TEST(One, Two) {\n  int one;\n  // FRG-1\n}"'
lacks "$no_test" 'property "TEST(One, FRG_10_Two) {\n}"'
lacks "$no_test" 'property "TEST(One, FRG_1_FRG_2_Two) {\n}"'
lacks '' 'property "TEST(One, FRG_1_Two) {\n}"'
lacks '' 'property "TEST_F(One,\n       FRG_1_Two) {\n}"'
lacks '' 'property "TEST(One, Two) {  // FRG-1: so\n}"'
lacks '' 'property "TEST(One, Two) {\n  // FRG-1: so\n}"'
lacks '' 'mv props/one_prop.cc port/one_test.cc'

lacks "$no_case" 'echo "Add(\"FRG-10/one\");" >oracle/suite/cases_one.cc'
lacks "$no_case" 'rm oracle/suite/cases_one.cc'
lacks '' 'rm oracle/suite/cases_one.cc && echo "{Rule::kFrg1, \"why\"}," >oracle/suite/case.cc'

no_search='port/code.cc:1: a search finds no rule within a range'
lacks "$no_search" 'sed -i "1s/.*/\/\/ FRG-1 ... FRG-3/" port/code.cc'
lacks "$no_search" 'sed -i "1s/.*/\/\/ FRG-1 ... 3/" port/code.cc'

lacks "$no_line"$'\n'"$no_test" 'rm port/code.cc props/one_prop.cc'
lacks '' 'rm port/code.cc props/one_prop.cc && echo "FRG-1 is not carried out." >>protocol/README.md'

python3 "$index" check "$readme" "$@" || failures=$((failures + 1))
exit "$failures"
