// Real traffic gets the verdicts and counts it must, also by way of JSON Lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "oracle/jsonl_writer.h"
#include "oracle/line_source.h"
#include "oracle/redact.h"
#include "oracle/report.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

const nlohmann::json& Recordings() {
  static const auto all =
      nlohmann::json::parse(ReadFile(TestData("recordings/recordings.json")))["recordings"];
  return all;
}

std::string Convert(const std::string& path, bool redact) {
  const TraceInput input{path, {path}};
  TraceInfo info;
  const auto settled = SettleProfile(input, {}, info);
  EXPECT_TRUE(settled.ok());
  std::string out_path = WriteFile("converted.jsonl", "");
  auto out = TextSink::Open(out_path);
  JsonLinesWriter writer([&](std::string_view line) { (*out)->Write(line); }, info);
  Redactor redactor(*ResolveProfile(settled->profile)->profile, info.byte_order, {}, writer);
  const auto on_info = [](const TraceInfo&) { return absl::OkStatus(); };
  EventSink& sink = redact ? static_cast<EventSink&>(redactor) : writer;
  EXPECT_TRUE(ReadTrace(input, {}, on_info, sink).ok());
  EXPECT_TRUE((*out)->Finish().ok());
  return out_path;
}

TEST(Recordings, YieldTheirCountsAndVerdicts) {
  for (const auto& expected : Recordings()) {
    SCOPED_TRACE(expected["file"].get<std::string>());
    const TraceReport report =
        JudgeFile(TestData("recordings/" + expected["file"].get<std::string>()));
    const Counts& counts = report.result.counts;
    EXPECT_EQ(report.profile, expected["profile"]);
    EXPECT_EQ(report.guess_weak, expected.contains("weak"));
    EXPECT_EQ(counts.ports, expected["ports"]);
    EXPECT_EQ(counts.datagrams, expected["sent"]);
    EXPECT_EQ(counts.received, expected["received"]);
    EXPECT_EQ(counts.undelivered, counts.datagrams - counts.received);
    EXPECT_EQ(counts.fragmented_streams, expected["fragmented_streams"]);
    EXPECT_EQ(counts.unfinished_streams, expected["unfinished_streams"]);
    EXPECT_EQ(counts.mmap_datagrams, expected["mmap_datagrams"]);
    EXPECT_EQ(counts.mmap_read_queue, expected["mmap_read_queue"]);
    EXPECT_EQ(counts.fd_datagrams, expected["fd_datagrams"]);
    EXPECT_EQ(counts.two_fd_datagrams, expected["two_fd_datagrams"]);
    EXPECT_EQ(counts.damaged_lines, 0u);
    EXPECT_THAT(Broken(report),
                testing::ElementsAreArray(expected["violations"].get<std::vector<std::string>>()));
  }
}

TEST(Recordings, SayTheSameAsJsonLinesAlsoRedacted) {
  for (const auto& expected : Recordings()) {
    SCOPED_TRACE(expected["file"].get<std::string>());
    const std::string path = TestData("recordings/" + expected["file"].get<std::string>());
    const TraceReport direct = JudgeFile(path);
    for (const bool redact : {false, true}) {
      const TraceReport again = JudgeFile(Convert(path, redact));
      EXPECT_EQ(again.source, ProfileSource::kTrace);
      EXPECT_EQ(again.result.counts, direct.result.counts);
      ASSERT_EQ(again.result.findings.size(), direct.result.findings.size());
      for (size_t i = 0; i < again.result.findings.size(); ++i) {
        EXPECT_EQ(again.result.findings[i].detail, direct.result.findings[i].detail);
        EXPECT_EQ(again.result.findings[i].datagram, direct.result.findings[i].datagram);
      }
    }
  }
}

TEST(Recordings, AreReportedTheSameTwice) {
  for (const auto& expected : Recordings()) {
    const std::string path = TestData("recordings/" + expected["file"].get<std::string>());
    EXPECT_EQ(JsonReport({JudgeFile(path)}, {}), JsonReport({JudgeFile(path)}, {}));
  }
}

TEST(Recordings, OfTheStalledStreamNameItsFirstFragment) {
  const TraceReport report =
      JudgeFile(TestData("recordings/unit-1.35-conf-frag-over-64k.strace.zst"));
  ASSERT_EQ(report.result.findings.size(), 1u);
  const Violation& found = report.result.findings.front();
  EXPECT_EQ(found.rule, Rule::kFrg5);
  EXPECT_EQ(found.port, "43215");
  EXPECT_EQ(found.stream, 4u);
  EXPECT_EQ(found.pid, 536);
  EXPECT_EQ(found.datagram, 12u);
  EXPECT_EQ(found.line, 68u);
  EXPECT_EQ(
      found.detail,
      "message begun at 0.389 s (start_process, 4 fragments, 65472 bytes) was never finished; "
      "its sender lived 20.0 s more");
}

}  // namespace
}  // namespace portproof
