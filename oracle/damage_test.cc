// Real recordings, cut and garbled: named lines, a count, and nobody accused falsely.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "oracle/line_source.h"
#include "oracle/report.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

// Enough to meet every kind of line; `portproof_damage_rounds` in the environment asks for more.
int Rounds() {
  const char* wanted = std::getenv("portproof_damage_rounds");
  return wanted == nullptr ? 8 : std::atoi(wanted);
}

struct Recording {
  std::string name;
  std::string profile;
  std::set<std::string> violations;
  std::vector<std::string> lines;
};

const std::vector<Recording>& Recordings() {
  static const auto* const all = [] {
    auto* recordings = new std::vector<Recording>;
    const auto json = nlohmann::json::parse(ReadFile(TestData("recordings/recordings.json")));
    for (const auto& entry : json["recordings"]) {
      Recording recording{entry["file"], entry["profile"], {}, {}};
      for (const auto& rule : entry["violations"]) recording.violations.insert(rule);
      auto source = LineSource::Open(TestData("recordings/" + recording.name), false);
      std::string_view line;
      while ((*source)->Next(line)) recording.lines.emplace_back(line);
      recordings->push_back(std::move(recording));
    }
    return recordings;
  }();
  return *all;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  return text;
}

// Judged without a crash; what is found was found in the whole recording too.
TraceReport JudgeDamaged(const Recording& recording, const std::string& text) {
  TraceReport report = JudgeText(text, recording.profile);
  for (const Violation& found : report.result.findings) {
    if (found.severity == Severity::kNote) continue;
    EXPECT_TRUE(recording.violations.contains(std::string(Id(found.rule))))
        << Id(found.rule) << " line " << found.line << ": " << found.detail;
  }
  return report;
}

TEST(Damage, ARecordingCutAtItsEndAccusesNobody) {
  std::mt19937 random(1);
  for (const Recording& recording : Recordings()) {
    SCOPED_TRACE(recording.name);
    const std::string text = Joined(recording.lines);
    for (int i = 0; i < Rounds(); ++i)
      JudgeDamaged(recording, text.substr(0, text.size() / 3 + random() % (text.size() * 2 / 3)));
  }
}

TEST(Damage, ARecordingBegunInTheMiddleAccusesNobody) {
  std::mt19937 random(2);
  for (const Recording& recording : Recordings()) {
    SCOPED_TRACE(recording.name);
    const std::string text = Joined(recording.lines);
    for (int i = 0; i < Rounds(); ++i)
      JudgeDamaged(recording, text.substr(random() % (text.size() * 2 / 3)));
  }
}

TEST(Damage, GarbledLinesAreNamedAndAccuseNobody) {
  std::mt19937 random(3);
  for (const Recording& recording : Recordings()) {
    SCOPED_TRACE(recording.name);
    for (int i = 0; i < Rounds(); ++i) {
      std::vector<std::string> lines = recording.lines;
      for (size_t k = 0; k < std::min<size_t>(100, lines.size() / 4); ++k) {
        std::string& line = lines[random() % lines.size()];
        if (line.empty()) continue;
        const size_t from = random() % line.size();
        const size_t to = std::min<size_t>(line.size(), from + 1 + random() % 60);
        for (size_t at = from; at < to; ++at) line[at] = static_cast<char>(128 + random() % 128);
      }
      const TraceReport report = JudgeDamaged(recording, Joined(lines));
      EXPECT_GT(report.log.damaged_count, 0u);
      EXPECT_GT(report.log.damaged.front().line, 0u);
      EXPECT_FALSE(report.log.damaged.front().what.empty());
    }
  }
}

// Nothing says that a line is gone: what is then found is what the recording shows.
TEST(Damage, RemovedLinesAreJudgedTheSameTwice) {
  std::mt19937 random(4);
  for (const Recording& recording : Recordings()) {
    SCOPED_TRACE(recording.name);
    std::vector<std::string> lines = recording.lines;
    for (size_t k = std::min<size_t>(100, lines.size() / 2); k > 0; --k)
      lines.erase(lines.begin() + static_cast<ptrdiff_t>(random() % lines.size()));
    const std::string text = Joined(lines);
    EXPECT_EQ(JsonReport({JudgeText(text, recording.profile)}, {}),
              JsonReport({JudgeText(text, recording.profile)}, {}));
  }
}

TEST(Damage, CutCompressionIsNamedAndWhatCameBeforeIsJudged) {
  const std::string whole = ReadFile(TestData("recordings/unit-0.2-wsgi-basic.strace.zst"));
  const TraceReport report = JudgeFile(WriteFile("cut.zst", whole.substr(0, whole.size() * 3 / 4)));
  EXPECT_GT(report.result.counts.datagrams, 0u);
  ASSERT_GT(report.log.damaged_count, 0u);
  EXPECT_THAT(report.log.damaged.back().what, testing::HasSubstr("compressed data end early"));
  std::string broken = whole;
  for (size_t at = broken.size() / 2; at < broken.size(); ++at)
    broken[at] = static_cast<char>(broken[at] ^ 0x55);
  const auto judged = Judge({"broken", {WriteFile("broken.zst", broken)}}, {});
  if (judged.ok()) {
    EXPECT_GT(judged->log.damaged_count, 0u);
  } else {
    EXPECT_THAT(std::string(judged.status().message()), testing::HasSubstr("damaged"));
  }
}

TEST(Damage, NoiseIsNoTrace) {
  std::string noise(100000, '\0');
  std::mt19937 random(5);
  for (char& c : noise) c = static_cast<char>(random());
  for (const std::string& text :
       {noise, std::string("\n\n\n"), std::string(""), std::string("hello\nworld\n")}) {
    const auto report = Judge({"noise", {WriteFile("noise", text)}}, {});
    ASSERT_FALSE(report.ok());
    EXPECT_THAT(std::string(report.status().message()), testing::HasSubstr("noise: line 1"));
  }
}

TEST(Damage, LinesOfAMegabyteAndMoreAreRead) {
  const std::string head =
      "1 1.0 socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<UNIX:[10->11]>, 9<UNIX:[11->10]>]) = 0\n";
  const std::string call =
      "1 1.1 sendmsg(9<UNIX:[11->10]>, {msg_name=NULL, msg_namelen=0, "
      "msg_iov=[{iov_base=\"\\x05\\x00\\x00\\x00"
      "\\x01\\x00\\x00\\x00\\x00\\x00\\x0c\\x00\\x00\\x00\\x00\\x00";
  std::string zeros;
  for (int i = 0; i < 1 << 18; ++i) zeros += "\\x00";
  const std::string long_line = absl::StrCat(
      call, zeros,
      "\", iov_len=262160}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0) = 262160\n");
  const TraceReport report = JudgeText(head + long_line, "unit-0.2");
  EXPECT_THAT(Broken(report), testing::ElementsAre("IOV-3"));
  const std::string too_long(LineSource::kLineBytesMax + 100, 'x');
  const TraceReport cut =
      JudgeText(absl::StrCat(head, too_long, "\n", "1 1.2 exit_group(0) = ?\n"), "unit-0.2");
  ASSERT_EQ(cut.log.damaged_count, 1u);
  EXPECT_EQ(cut.log.damaged[0].line, 2u);
}

}  // namespace
}  // namespace portproof
