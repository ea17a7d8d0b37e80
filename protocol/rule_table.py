"""Makes rule.h and rule.cc of the tables of README.md, the only text of the rules.

    rule_table.py README.md rule.h rule.cc

A row is `| ID | level | who | text |`. A row that is not one (an unknown level, an id
twice or out of its order, no text) ends the build, with its line and what is wrong.
"""

import re
import sys

LEVELS = {"MUST": "kMust", "SHOULD": "kShould"}
BOUNDS = {"S": "kSender", "R": "kReceiver", "X": "kBoth"}
ID = re.compile(r"([A-Z]{3})-([1-9][0-9]?)")
# Any row whose first cell resembles an id is meant as a rule.
ROW = re.compile(r"\|\s*([A-Za-z]+\s*-\s*[0-9]+)\s*\|")


class Malformed(Exception):
    """A line of README.md and what is wrong with it."""


class Rule:
    def __init__(self, rule_id, level, bound, text):
        self.id = rule_id
        self.name = "k" + rule_id[0] + rule_id[1:3].lower() + rule_id[4:]
        self.level = level
        self.bound = bound
        self.text = text
        self.sentence = first_sentence(text)


def plain(markdown):
    """The text without the marks of emphasis and code."""
    text = re.sub(r"`([^`]*)`", r"\1", markdown)
    return re.sub(r"\*([^*]+)\*", r"\1", text).strip()


def first_sentence(text):
    """Up to the first full stop outside parentheses that something else follows."""
    depth = 0
    for i, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "." and depth == 0 and text[i + 1 : i + 2] in ("", " "):
            return text[: i + 1]
    return text


def rule_of(line, last):
    """The rule of a row; `last` has the last number of each family."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if len(cells) != 4:
        raise Malformed(f"expected 4 cells (id, level, who, rule), not {len(cells)}")
    rule_id, level, bound, text = cells
    matched = ID.fullmatch(rule_id)
    if not matched:
        raise Malformed(f"{rule_id} is no id: expected one such as FRG-1")
    if level not in LEVELS:
        raise Malformed(f"{rule_id}: unknown level {level or '(none)'}; known: {', '.join(LEVELS)}")
    if bound not in BOUNDS:
        raise Malformed(f"{rule_id}: unknown who {bound or '(none)'}; known: {', '.join(BOUNDS)}")
    family, number = matched[1], int(matched[2])
    expected = last.get(family, 0) + 1
    if number < expected:
        raise Malformed(f"{rule_id} is there twice, or behind {family}-{expected - 1}")
    if number > expected:
        raise Malformed(f"{rule_id} where {family}-{expected} is expected")
    last[family] = number
    if not plain(text).endswith((".", ".)")):
        raise Malformed(f"{rule_id}: the text is empty or ends without a full stop")
    return Rule(rule_id, LEVELS[level], BOUNDS[bound], plain(text))


def read_rules(path):
    rules, last = [], {}
    with open(path, encoding="utf-8") as readme:
        for number, line in enumerate(readme, 1):
            if not ROW.match(line):
                continue
            try:
                rules.append(rule_of(line, last))
            except Malformed as wrong:
                raise Malformed(f"{path}:{number}: {wrong}") from None
    if not rules:
        raise Malformed(f"{path}: no rules in it")
    return rules


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


HEADER = """\
// Every rule of the port protocol, once. Code, tests, verdicts and reports refer to a
// rule by its value here and print its id.
//   shapes    one value per row of protocol/README.md, in its order; the number behind a
//             value is not published. What is known of each is in protocol/rule_info.h
//   returns   nothing
//   holds     nothing
//   rules     all
//   source    no original: the protocol was never specified. Generated from
//             protocol/README.md by protocol/rule_table.py; edit that text, not this
#ifndef PORTPROOF_PROTOCOL_RULE_H_
#define PORTPROOF_PROTOCOL_RULE_H_

#include <cstddef>
#include <cstdint>

#include "protocol/rule_info.h"

namespace portproof {

enum class Rule : uint8_t {
%(values)s
};

inline constexpr size_t kRuleCount = %(count)d;

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_RULE_H_
"""

TABLE = """\
// Generated from protocol/README.md by protocol/rule_table.py; edit that text, not this.
#include "protocol/rule.h"

#include <array>

namespace portproof {
namespace {

using enum Rule;
using enum Level;
using enum Bound;

constexpr std::array<RuleInfo, kRuleCount> kRules = {{
%(rows)s
}};

}  // namespace

const RuleInfo& Info(Rule rule) { return kRules[static_cast<size_t>(rule)]; }

}  // namespace portproof
"""


def row(rule):
    return (
        f"    {{{rule.name}, {quoted(rule.id)}, {rule.level}, {rule.bound},\n"
        f"     {quoted(rule.sentence)},\n     {quoted(rule.text)}}},"
    )


def main(readme, header, table):
    try:
        rules = read_rules(readme)
    except Malformed as wrong:
        sys.exit(f"{wrong}")
    with open(header, "w", encoding="utf-8") as out:
        values = "\n".join(f"  {rule.name},  // {rule.id}" for rule in rules)
        out.write(HEADER % {"values": values, "count": len(rules)})
    with open(table, "w", encoding="utf-8") as out:
        out.write(TABLE % {"rows": "\n".join(map(row, rules))})


if __name__ == "__main__":
    main(*sys.argv[1:])
