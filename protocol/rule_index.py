"""Who names which rule: its code, properties, tests, vectors, stories and live cases.

    rule_index.py print README.md FILE...   a block for each rule
    rule_index.py cc README.md FILE...      the same blocks as C++ (oracle/rule_index.h)
    rule_index.py check README.md FILE...   exit status 1: a line for what each rule lacks

What a file is follows from its path. Nothing is kept in a list here:
  code      a line of protocol/ or port/ that names the rule in a comment or as kFrg1, but
            for the comment a file begins with, and for lines that list more than three
  judge     a line of oracle/ that names it as kFrg1: who judges recordings by it
  property, test
            its name (FRG_1_...) or its own comment, right above it, on its line or first in
            it, names this rule and no other; property+, test+: others as well
  vector, story, case
            as it says itself
  no case   the reason in oracle/suite/case.cc
"""

import json
import os
import re
import sys

from rule_table import read_rules

ID = re.compile(r"\b[A-Z]{3}-[1-9][0-9]?\b")
VALUE = re.compile(r"\bk([A-Z][a-z]{2})([1-9][0-9]?)\b")
NAME = re.compile(r"(?:^|_)([A-Z]{3}_[1-9][0-9]?)(?=_|$)")
RANGE = re.compile(r"[A-Z]{3}-[0-9]+ ?(?:\.\.\.|…|–) ?(?:[A-Z]{3}-)?[0-9]+")
TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
CASE = re.compile(r'"([A-Z]{3}-[0-9]+)(/[^"]+)"')
REASON = re.compile(r'\{Rule::k([A-Z][a-z]{2})([0-9]+),\s*((?:"[^"]*"\s*)+)\}')
RULES_IN_A_LINE = 3
KINDS = (
    "code",
    "judge",
    "property",
    "property+",
    "test",
    "test+",
    "vector",
    "story",
    "case",
    "no case",
)


def id_of(family, number):
    return f"{family.upper()}-{number}"


def split_comment(line):
    """Code and comment of a line; a // in a string is taken for a comment's."""
    code, slashes, comment = line.partition("//")
    return code, comment if slashes else ""


def head_lines(lines):
    """How many lines the comment has with which a file begins."""
    for count, line in enumerate(lines):
        if not line.startswith("//"):
            return count
    return len(lines)


class Index:
    def __init__(self, rules):
        self.rules = rules
        self.ranges = []
        self.entries = {rule.id: {kind: [] for kind in KINDS} for rule in rules}

    def add(self, rule_id, kind, entry):
        if rule_id in self.entries and entry not in self.entries[rule_id][kind]:
            self.entries[rule_id][kind].append(entry)

    def add_lines(self, path, lines, kind, comments):
        for i in range(head_lines(lines), len(lines)):
            code, comment = split_comment(lines[i])
            named = [id_of(*value.groups()) for value in VALUE.finditer(code)]
            named += ID.findall(comment) if comments else []
            if len(set(named)) > RULES_IN_A_LINE:
                continue
            for rule_id in named:
                self.add(rule_id, kind, f"{path}:{i + 1}")

    def add_tests(self, path, lines, kind):
        for i, line in enumerate(lines):
            matched = TEST.match(line if line.endswith("{") else "".join(lines[i : i + 2]))
            if not line.startswith("TEST") or not matched:
                continue
            test = f"{path} {matched[1]}.{matched[2]}"
            by_name = {name.replace("_", "-") for name in NAME.findall(matched[2])}
            by_comment = set(ID.findall(own_comment(lines, i)))
            for named in (by_name, by_comment):
                for rule_id in named:
                    alone = {rule_id} in (by_name, by_comment)
                    others = "" if alone else f" (with {len(named) - 1} more)"
                    self.add(rule_id, kind if alone else kind + "+", test + others)

    def add_vectors(self, path, text):
        for vector in json.loads(text)["vectors"]:
            self.add(vector.get("rule", ""), "vector", f'{path} "{vector["name"]}"')

    def add_stories(self, path, text):
        for story in json.loads(text)["stories"]:
            for file in (story["breaks"], story["conforms"]):
                self.add(story["rule"], "story", f"{os.path.dirname(path)}/{file}")

    def add_cases(self, path, lines):
        for i, line in enumerate(lines):
            for rule_id, name in CASE.findall(line):
                self.add(rule_id, "case", f"{path}:{i + 1} {rule_id}{name}")

    def add_reasons(self, text):
        for family, number, why in REASON.findall(text):
            self.add(id_of(family, number), "no case", "".join(re.findall(r'"([^"]*)"', why)))

    def add_file(self, path, text):
        lines = text.splitlines()
        folder, name = os.path.split(path)
        for i, line in enumerate(lines):
            if RANGE.search(line):
                self.ranges.append(f"{path}:{i + 1}: a search finds no rule within a range")
        if path == "testdata/traces/stories.json":
            self.add_stories(path, text)
        elif folder == "testdata/vectors" and name.endswith(".json"):
            self.add_vectors(path, text)
        elif path == "oracle/suite/case.cc":
            self.add_reasons(text)
        elif folder == "oracle/suite" and name.startswith("cases_"):
            self.add_cases(path, lines)
        elif folder == "props":
            self.add_tests(path, lines, "property")
        elif name.endswith("_test.cc"):
            self.add_tests(path, lines, "test")
        elif folder == "oracle":
            self.add_lines(path, lines, "judge", comments=False)
        elif folder in ("protocol", "port"):
            self.add_lines(path, lines, "code", comments=True)
        else:
            sys.exit(f"{path}: no such files are indexed")

    def block(self, rule):
        text = f"{rule.id}  {rule.sentence}\n"
        for kind, entries in self.entries[rule.id].items():
            for i, entry in enumerate(entries):
                text += f"  {kind if i == 0 else '':<10}  {entry}\n"
        return text

    def lacks(self, readme):
        """A line for each rule that somebody who searches for it would not find."""
        found = list(self.ranges)
        for rule in self.rules:
            entries = self.entries[rule.id]
            carried_out = f"{rule.id} is not carried out" not in readme
            if carried_out and not entries["code"]:
                found.append(f"{rule.id}: no line of protocol/ or port/ that names it")
            if carried_out and not entries["property"] + entries["test"]:
                found.append(f"{rule.id}: no property and no test that names it alone")
            if not entries["case"] + entries["story"] + entries["no case"]:
                found.append(f"{rule.id}: no live case, no story, and no reason in oracle/suite/case.cc")
        return found


def own_comment(lines, i):
    """The comment of the test that begins at line i: above it, on it, or first in it."""
    above = i
    while above > 0 and lines[above - 1].startswith("//"):
        above -= 1
    comments = lines[above:i]
    while i < len(lines) and not split_comment(lines[i])[0].rstrip().endswith(("{", "}")):
        comments.append(split_comment(lines[i])[1])
        i += 1
    if i < len(lines):
        comments.append(split_comment(lines[i])[1])
    i += 1
    while i < len(lines) and lines[i].lstrip().startswith("//"):
        comments.append(lines[i])
        i += 1
    return " ".join(comment.strip().lstrip("/ ") for comment in comments)


def as_cc(index):
    quoted = (json.dumps(index.block(rule), ensure_ascii=False) for rule in index.rules)
    rows = "\n".join(f"    {block}," for block in quoted)
    return f"""\
// Generated by protocol/rule_index.py.
#include "oracle/rule_index.h"

#include <array>

namespace portproof {{
namespace {{

constexpr std::array<std::string_view, kRuleCount> kBlocks = {{{{
{rows}
}}}};

}}  // namespace

std::string_view IndexOf(Rule rule) {{ return kBlocks[static_cast<size_t>(rule)]; }}

}}  // namespace portproof
"""


def main(command, readme, *files):
    root = os.path.dirname(os.path.dirname(readme))
    index = Index(read_rules(readme))
    for file in sorted(files):
        with open(file, encoding="utf-8") as source:
            index.add_file(os.path.relpath(file, root or "."), source.read())
    if command == "print":
        sys.stdout.write("\n".join(map(index.block, index.rules)))
    elif command == "cc":
        sys.stdout.write(as_cc(index))
    else:
        with open(readme, encoding="utf-8") as text:
            lacks = index.lacks(text.read())
        print("\n".join(lacks) if lacks else f"{len(index.rules)} rules are named by all they need")
        sys.exit(bool(lacks))


if __name__ == "__main__":
    main(*sys.argv[1:])
