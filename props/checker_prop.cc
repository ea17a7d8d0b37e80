// Two judges of the same recordings must agree: the checker, and a naive one.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "oracle/checker.h"
#include "oracle/jsonl_reader.h"
#include "oracle/jsonl_writer.h"
#include "props/floors.h"
#include "props/naive_checker.h"
#include "props/traffic.h"

namespace portproof {
namespace {

using conversation::Dice;
using Verdict = std::map<std::string, int>;  // rules, and how often each was found

constexpr uint64_t kRuns = 900;
constexpr size_t kShown = 5;

CheckResult Check(const Recording& recording, const Profile& profile) {
  Checker checker({.profile = &profile});
  for (const Recorded& one : recording) checker.OnEvent(one.View());
  return checker.Finish();
}

Verdict VerdictOf(const CheckResult& result) {
  Verdict verdict;
  for (const Violation& violation : result.findings) {
    if (violation.severity != Severity::kNote) ++verdict[std::string(Id(violation.rule))];
  }
  return verdict;
}

Verdict NaiveVerdict(const Recording& recording, const Profile& profile) {
  Verdict verdict;
  for (const NaiveFinding& finding : CheckNaively(recording, profile)) {
    ++verdict[std::string(Id(finding.rule))];
  }
  return verdict;
}

std::set<std::string> Rules(const Verdict& verdict) {
  std::set<std::string> rules;
  for (const auto& [rule, count] : verdict) rules.insert(rule);
  return rules;
}

// What the texts fix of a verdict. How often a rule is named they do not: the second of two
// datagrams that follow from one defect is "not reported again", and which those are is a
// matter of reading. Nor do they say what becomes of a message whose pid was altered before
// its process had shown its own: that this was no pid namespace is known only later.
std::set<std::string> Fixed(const Verdict& verdict, Edit edit) {
  std::set<std::string> rules = Rules(verdict);
  // That a segment was not announced follows from an announcement nobody sent (SOC-3); the
  // checker, which reads once, leaves it out only where it knows of the one before the other.
  if (edit == Edit::kDropSend && rules.contains("SOC-3")) {
    rules.erase("SHM-2");
    rules.erase("SHM-10");
  }
  if (edit != Edit::kPid) return rules;
  std::erase_if(rules, [](const std::string& rule) { return rule.starts_with("FRG-"); });
  // Nor whether a type that HDR-7 exempts shows what is constant.
  if (rules.erase("HDR-6") > 0) rules.insert("HDR-7");
  return rules;
}

std::string ToString(const Verdict& verdict) {
  std::string text;
  for (const auto& [rule, count] : verdict) text += rule + " x" + std::to_string(count) + " ";
  return text.empty() ? "nothing " : text;
}

std::string PathOf(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / name;
}

void Write(const Recording& recording, const Profile& profile, const std::string& path) {
  auto out = TextSink::Open(path);
  ASSERT_TRUE(out.ok());
  JsonLinesWriter writer([&](std::string_view line) { (*out)->Write(line); },
                         {.profile = std::string(profile.newest)});
  for (const Recorded& one : recording) writer.OnEvent(one.View());
  ASSERT_TRUE((*out)->Finish().ok());
}

CheckResult CheckFile(const std::string& path, const Profile& profile) {
  auto lines = LineSource::Open(path, false);
  EXPECT_TRUE(lines.ok());
  Checker checker({.profile = &profile});
  ReadLog log;
  const auto read = ReadJsonLines(
      **lines, path, [](const TraceInfo&) { return absl::OkStatus(); }, checker, log);
  EXPECT_TRUE(read.ok()) << read.message();
  return checker.Finish();
}

const Profile& ProfileOf(uint64_t run) { return Profiles()[run % Profiles().size()]; }

// A process in a pid namespace is named once (HDR-7); nothing else may be.
TEST(CheckerProp, ConformingTrafficIsNotAccusedByEither) {
  Floors floors;
  for (uint64_t run = 0; run < 2 * kRuns; ++run) {
    Dice dice(run);
    std::set<std::string> reached;
    const Recording recording = ConformingTraffic(dice, ProfileOf(run), reached);
    floors.Begin();
    for (const std::string& name : reached) floors.Reached(name);
    Verdict verdict = VerdictOf(Check(recording, ProfileOf(run)));
    EXPECT_EQ(Rules(verdict), Rules(NaiveVerdict(recording, ProfileOf(run)))) << "run " << run;
    EXPECT_LE(verdict["HDR-7"], 8) << "once per sender";
    verdict.erase("HDR-7");
    if (!reached.contains("namespace") || !verdict.empty()) {
      EXPECT_EQ(ToString(verdict), "nothing ") << "run " << run;
    }
    if (HasFailure()) {
      Write(recording, ProfileOf(run), PathOf("conforming.jsonl"));
      FAIL() << PathOf("conforming.jsonl");
    }
  }
  floors.Expect({"fds", "fragments", "references", "announcement", "turns", "EAGAIN", "death",
                 "port closed and opened again", "undelivered", "receives only", "sends only",
                 "begun before", "pid comes back"});
}

TEST(CheckerProp, AnySingleEditIsJudgedAlike) {
  std::map<Edit, int> made;
  std::set<std::string> found;
  size_t disagreements = 0;
  for (uint64_t run = 0; run < kRuns; ++run) {
    Dice dice(run);
    std::set<std::string> reached;
    const Recording recording = ConformingTraffic(dice, ProfileOf(run), reached);
    for (size_t i = 0; i < kEdits; ++i) {
      const Edit edit = static_cast<Edit>(i);
      const std::optional<Recording> edited = Edited(recording, ProfileOf(run), edit, dice);
      if (!edited.has_value()) continue;
      ++made[edit];
      const Verdict ours = VerdictOf(Check(*edited, ProfileOf(run)));
      const Verdict naive = NaiveVerdict(*edited, ProfileOf(run));
      found.merge(Rules(ours));
      if (Fixed(ours, edit) == Fixed(naive, edit)) continue;
      const std::string path = PathOf("edit-" + std::to_string(run) + "-" + std::to_string(i));
      Write(*edited, ProfileOf(run), path + ".jsonl");
      ADD_FAILURE() << Name(edit) << ", run " << run << ", " << ProfileOf(run).newest
                    << "\n  checker: " << ToString(ours) << "\n  naive:   " << ToString(naive)
                    << "\n  " << path << ".jsonl";
      ASSERT_LT(++disagreements, kShown);
    }
  }
  for (size_t i = 0; i < kEdits; ++i) {
    EXPECT_GE(made[static_cast<Edit>(i)], 8) << Name(static_cast<Edit>(i));
  }
  for (const Rule rule : Checker::Judged())
    EXPECT_TRUE(found.contains(std::string(Id(rule)))) << Id(rule);
}

void ExpectSame(const CheckResult& a, const CheckResult& b, bool lines) {
  EXPECT_EQ(a.counts, b.counts);
  ASSERT_EQ(a.findings.size(), b.findings.size());
  for (size_t i = 0; i < a.findings.size(); ++i) {
    EXPECT_EQ(a.findings[i].rule, b.findings[i].rule);
    EXPECT_EQ(a.findings[i].port, b.findings[i].port);
    EXPECT_EQ(a.findings[i].datagram, b.findings[i].datagram);
    EXPECT_EQ(a.findings[i].time_us, b.findings[i].time_us);
    if (lines) {  // may name a line
      EXPECT_EQ(a.findings[i].detail, b.findings[i].detail);
    }
  }
}

TEST(CheckerProp, TheSameRecordingHasTheSameVerdictAlsoWrittenAndReadAgain) {
  for (uint64_t run = 0; run < 300; ++run) {
    Dice dice(run);
    std::set<std::string> reached;
    Recording recording = ConformingTraffic(dice, ProfileOf(run), reached);
    const auto edited = Edited(recording, ProfileOf(run), static_cast<Edit>(run % kEdits), dice);
    if (edited.has_value()) recording = *edited;
    const CheckResult result = Check(recording, ProfileOf(run));
    ExpectSame(result, Check(recording, ProfileOf(run)), true);
    const std::string path = PathOf("again.jsonl");
    Write(recording, ProfileOf(run), path);
    ExpectSame(result, CheckFile(path, ProfileOf(run)), false);
    ASSERT_FALSE(HasFailure()) << "run " << run;
  }
}

}  // namespace
}  // namespace portproof
