#include "oracle/suite/suite_report.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "oracle/suite/printable.h"

namespace portproof::suite {
namespace {

std::string RuleIds(const std::vector<Rule>& rules) {
  std::vector<std::string> ids;
  ids.reserve(rules.size());
  for (const Rule rule : rules) ids.emplace_back(Id(rule));
  return absl::StrJoin(ids, " ");
}

std::string Rerun(const SuiteReport& report, const Outcome& outcome) {
  return absl::StrCat(report.rerun, " --case='", outcome.name, "' ", report.testee);
}

// "not reached: IOV-5 came first"
std::string NotReached(const Outcome& outcome) {
  if (outcome.verdict != Verdict::kNotReached || !outcome.broken) return "";
  return absl::StrCat("not reached: ", std::string(Id(*outcome.broken)), " came first");
}

void AddLine(std::string& text, const char* label, const std::string& value) {
  if (!value.empty()) absl::StrAppend(&text, "      ", label, Printable(value), "\n");
}

std::string Indented(const std::string& text) {
  std::string lines = text;
  while (!lines.empty() && lines.back() == '\n') lines.pop_back();
  return absl::StrReplaceAll(lines, {{"\n", "\n        "}});
}

std::string Detail(const SuiteReport& report, const Outcome& outcome) {
  std::string text;
  if (outcome.broken) {
    AddLine(text, "rule      ",
            absl::StrCat(std::string(Id(*outcome.broken)), ": ",
                         std::string(Info(*outcome.broken).sentence)));
  }
  AddLine(text, "expected  ", outcome.expected);
  AddLine(text, "seen      ", outcome.seen);
  AddLine(text, "known     ", outcome.reason);
  if (!outcome.datagrams.empty()) {
    text += "      datagrams (a: to the testee, b: from it)\n";
    for (const std::string& line : outcome.datagrams)
      absl::StrAppend(&text, "        ", line, "\n");
  }
  if (!outcome.conversation.empty())
    absl::StrAppend(&text, "      conversation",
                    outcome.shrunk ? ", shrunk" : " (played alone it is shrunk)", "\n        ",
                    Indented(outcome.conversation), "\n");
  if (!outcome.errors.empty())
    absl::StrAppend(&text, "      its standard error\n        ",
                    Indented(Printable(outcome.errors, true)), "\n");
  AddLine(text, "again     ", Rerun(report, outcome));
  return text;
}

std::string Escaped(const std::string& text) {
  std::string clean;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') clean += c;
  }
  return absl::StrReplaceAll(clean,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

}  // namespace

bool Passes(const SuiteReport& report) {
  return std::all_of(report.outcomes.begin(), report.outcomes.end(),
                     [](const Outcome& outcome) { return IsGood(outcome.verdict); });
}

std::string SuiteText(const SuiteReport& report) {
  std::string text;
  std::array<int, kVerdictCount> counts = {};
  for (const Outcome& outcome : report.outcomes) {
    ++counts[static_cast<size_t>(outcome.verdict)];
    const bool good = IsGood(outcome.verdict);
    if (report.quiet && good) continue;
    absl::StrAppend(&text, std::string(Name(outcome.verdict)), "  ", outcome.name, "  (",
                    outcome.profile, ", ", outcome.ms, " ms)");
    if (outcome.verdict == Verdict::kUnsupported) absl::StrAppend(&text, "  ", outcome.expected);
    if (outcome.verdict == Verdict::kNotReached) absl::StrAppend(&text, "  ", NotReached(outcome));
    if (outcome.verdict == Verdict::kXfail) absl::StrAppend(&text, "  ", outcome.reason);
    text += "\n";
    if (!good) text += Detail(report, outcome);
  }
  absl::StrAppend(&text, report.outcomes.size(), " cases:");
  for (int i = 0; i < kVerdictCount; ++i) {
    if (counts[static_cast<size_t>(i)] == 0) continue;
    absl::StrAppend(&text, " ", counts[static_cast<size_t>(i)], " ",
                    std::string(Name(static_cast<Verdict>(i))));
  }
  return text + "\n";
}

std::string SuiteJson(const SuiteReport& report) {
  Json cases = Json::array();
  for (const Outcome& outcome : report.outcomes) {
    Json rules = Json::array();
    for (const Rule rule : outcome.rules) rules.push_back(std::string(Id(rule)));
    Json object = {{"case", outcome.name},
                   {"rules", std::move(rules)},
                   {"verdict", std::string(Name(outcome.verdict))},
                   {"ms", outcome.ms},
                   {"detail", IsGood(outcome.verdict) ? "" : Detail(report, outcome)},
                   {"rerun", Rerun(report, outcome)}};
    if (outcome.verdict == Verdict::kNotReached) object["reason"] = NotReached(outcome);
    if (outcome.broken) object["broken"] = std::string(Id(*outcome.broken));
    cases.push_back(std::move(object));
  }
  const Json whole = {{"portproof", 1},
                      {"testee", report.hello},
                      {"verdict", Passes(report) ? "pass" : "fail"},
                      {"cases", std::move(cases)}};
  return whole.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string SuiteJunit(const SuiteReport& report) {
  const auto count = [&](auto wanted) {
    return std::count_if(report.outcomes.begin(), report.outcomes.end(), wanted);
  };
  const auto skipped = count([](const Outcome& outcome) {
    return outcome.verdict == Verdict::kUnsupported || outcome.verdict == Verdict::kXfail;
  });
  const auto failed = count([](const Outcome& outcome) { return !IsGood(outcome.verdict); });
  std::string xml = absl::StrCat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"portproof\" tests=\"",
      report.outcomes.size(), "\" failures=\"", failed, "\" skipped=\"", skipped, "\">\n");
  for (const Outcome& outcome : report.outcomes) {
    absl::StrAppend(&xml, "  <testcase classname=\"", Escaped(RuleIds(outcome.rules)), "\" name=\"",
                    Escaped(outcome.name), "\" time=\"", static_cast<double>(outcome.ms) / 1000,
                    "\"");
    const std::string verdict(Name(outcome.verdict));
    if (outcome.verdict == Verdict::kPass) {
      xml += "/>\n";
    } else if (IsGood(outcome.verdict)) {
      absl::StrAppend(&xml, "><skipped message=\"",
                      Escaped(verdict + ": " + outcome.expected + outcome.reason),
                      "\"/></testcase>\n");
    } else {
      absl::StrAppend(
          &xml, "><failure type=\"", verdict, "\" message=\"",
          Escaped(Printable(outcome.verdict == Verdict::kNotReached ? NotReached(outcome)
                                                                    : outcome.seen)),
          "\">", Escaped(Detail(report, outcome)), "</failure></testcase>\n");
    }
  }
  return xml + "</testsuite>\n";
}

}  // namespace portproof::suite
