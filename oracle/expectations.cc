#include "oracle/expectations.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "oracle/line_source.h"

namespace portproof {
namespace {

absl::StatusOr<Expectation> ParseExpectation(std::string_view text, const std::string& where) {
  Expectation expected;
  const size_t hash = text.find('#');
  if (hash != std::string_view::npos) {
    expected.reason =
        std::string(absl::StripAsciiWhitespace({text.data() + hash + 1, text.size() - hash - 1}));
    text = text.substr(0, hash);
  }
  const std::vector<std::string> words = absl::StrSplit(
      absl::string_view(text.data(), text.size()), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  if (words.empty() || words.size() > 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": expected RULE [PORT [STREAM]]  # reason"));
  }
  const std::optional<Rule> rule = FindRule(words[0]);
  if (!rule) return absl::InvalidArgumentError(absl::StrCat(where, ": unknown rule ", words[0]));
  expected.rule = *rule;
  if (words.size() > 1) expected.port = words[1];
  uint32_t stream = 0;
  if (words.size() > 2) {
    if (!absl::SimpleAtoi(words[2], &stream)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": expected a stream number, found ", words[2]));
    }
    expected.stream = stream;
  }
  return expected;
}

bool Meets(const Violation& found, const Expectation& expected) {
  return found.severity != Severity::kNote && found.rule == expected.rule &&
         (expected.port.empty() || expected.port == found.port) &&
         (!expected.stream || (found.has_stream && *expected.stream == found.stream));
}

}  // namespace

absl::StatusOr<std::vector<Expectation>> ParseExpectations(const std::string& file) {
  auto source = LineSource::Open(file, false);
  if (!source.ok()) return source.status();
  std::vector<Expectation> all;
  std::string_view line;
  while ((*source)->Next(line)) {
    const absl::string_view text = absl::StripAsciiWhitespace({line.data(), line.size()});
    if (text.empty() || text[0] == '#') continue;
    const uint64_t number = (*source)->line_number();
    auto expected =
        ParseExpectation({text.data(), text.size()}, absl::StrCat(file, ": line ", number));
    if (!expected.ok()) return expected.status();
    expected->line = number;
    all.push_back(*std::move(expected));
  }
  return all;
}

std::vector<std::string> ApplyExpectations(std::vector<Expectation>& expectations,
                                           std::vector<TraceReport>& reports) {
  for (TraceReport& report : reports) {
    std::erase_if(report.result.findings, [&](const Violation& found) {
      bool met = false;
      for (Expectation& expected : expectations) {
        if (!Meets(found, expected)) continue;
        expected.met = met = true;
      }
      if (met)
        --(found.severity == Severity::kError ? report.result.errors : report.result.warnings);
      return met;
    });
  }
  std::vector<std::string> unmet;
  for (const Expectation& expected : expectations) {
    if (expected.met) continue;
    std::string text =
        absl::StrCat("expected (line ", expected.line, "): ", std::string(Id(expected.rule)));
    if (!expected.port.empty()) absl::StrAppend(&text, " port ", expected.port);
    if (expected.stream) absl::StrAppend(&text, " stream ", *expected.stream);
    unmet.push_back(text + " no longer occurs");
  }
  return unmet;
}

}  // namespace portproof
