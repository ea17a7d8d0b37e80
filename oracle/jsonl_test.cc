// JSON Lines: what is read, what is damaged, what is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "oracle/jsonl_reader.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Status(const std::string& text) {
  const auto report = Judge({"t", {WriteFile("t.jsonl", text)}}, {});
  return report.ok() ? "OK" : std::string(report.status().message());
}

// What is said of the second line.
std::string Damage(const std::string& line) {
  const TraceReport report = JudgeText(absl::StrCat(kFirstLine, line, "\n"));
  EXPECT_LE(report.log.damaged_count, 1u);
  return report.log.damaged_count == 0 ? "" : report.log.damaged[0].what;
}

TEST(JsonLines, NeedAFirstLine) {
  EXPECT_THAT(Status("{\"ev\":\"eof\",\"port\":\"p\"}\n"),
              HasSubstr("t: line 1: unknown key \"ev\""));
  EXPECT_THAT(Status("{\"portproof\":2}\n"), HasSubstr("line 1: \"portproof\": expected format 1"));
  EXPECT_THAT(Status("{\"profile\":\"unit-0.2\"}\n"), HasSubstr("expected {\"portproof\":1"));
  EXPECT_THAT(Status("{\"portproof\":1,\"profile\":\"unit-9\"}\n"),
              HasSubstr("unknown profile unit-9; known: "));
  EXPECT_THAT(Status("{\"portproof\":1,\"byte_order\":\"middle\"}\n"),
              HasSubstr("expected little or big"));
  EXPECT_THAT(Status("{\"portproof\":1} x\n"), HasSubstr("line 1"));
  EXPECT_EQ(Status("{\"portproof\":1}\n"), "OK");
}

TEST(JsonLines, NameWhatIsWrongWithALine) {
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"00\",\"colour\":1}"),
              HasSubstr("unknown key \"colour\""));
  EXPECT_THAT(Damage("{\"ev\":\"eof\",\"port\":\"p\",\"fds\":1}"),
              HasSubstr("unknown key \"fds\" in \"eof\""));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\"}"), HasSubstr("expected a key \"data\""));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"data\":\"\"}"), HasSubstr("expected a key \"port\""));
  EXPECT_THAT(Damage("{\"ev\":\"fly\",\"port\":\"p\"}"), HasSubstr("unknown event \"fly\""));
  EXPECT_THAT(Damage("{\"port\":\"p\"}"), HasSubstr("expected a key \"ev\""));
  EXPECT_THAT(Damage("{\"ev\":\"fail\",\"port\":\"p\"}"), HasSubstr("errno"));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"0\"}"),
              HasSubstr("pairs of hex digits"));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"0g\"}"),
              HasSubstr("pairs of hex digits"));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"\",\"fds\":4294967296}"),
              HasSubstr("\"fds\""));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"\",\"pid\":-1}"),
              HasSubstr("\"pid\""));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"\",\"pid\":99999999999999999999}"),
              HasSubstr("\"pid\""));
  EXPECT_THAT(Damage("{\"ev\":\"eof\",\"port\":\"p\",\"time\":1e300}"), HasSubstr("\"time\""));
  EXPECT_THAT(Damage("{\"ev\":\"eof\",\"port\":\"p\",\"port\":\"q\"}"), HasSubstr("stands twice"));
  EXPECT_THAT(Damage("{\"ev\":\"eof\",\"port\":\"p\"} 7"), testing::Not(IsEmpty()));
  EXPECT_THAT(Damage("{\"ev\":\"eof\",\"port\":\"\xff\xfe\"}"), testing::Not(IsEmpty()));
  EXPECT_THAT(Damage("{\"ev\":\"eof\",\"port\":"), testing::Not(IsEmpty()));
  EXPECT_THAT(Damage("[1]"), HasSubstr("expected an object"));
  EXPECT_THAT(Damage("{\"ev\":\"recv\",\"port\":\"p\",\"data\":\"\",\"flags\":[\"oob\"]}"),
              HasSubstr("unknown flag \"oob\""));
  EXPECT_THAT(Damage("{\"ev\":\"send\",\"port\":\"p\",\"data\":\"0000\",\"size\":1}"),
              HasSubstr("\"size\""));
}

TEST(JsonLines, TakeEveryKeyThatIsDocumented) {
  EXPECT_EQ(Damage("{\"ev\":\"open\",\"port\":\"p1\",\"time\":0.001,\"max_size\":16384,\"max_"
                   "share\":65536,\"kind\":\"seqpacket\"}"),
            "");
  EXPECT_EQ(Damage("{\"ev\":\"send\",\"port\":\"p1\",\"time\":2e-3,\"pid\":101,\"tid\":101,"
                   "\"data\":\"AAbb\",\"fds\":2,\"rights\":1,"
                   "\"iov\":2,\"segment_bytes\":10489856,\"killed\":true,\"data_zero\":7}"),
            "");
  EXPECT_EQ(Damage("{\"ev\":\"recv\",\"port\":\"p1\",\"time\":3,\"pid\":1,\"tid\":2,\"data\":\"\","
                   "\"fds\":2,\"rights\":1,\"cred_pid\":101,"
                   "\"flags\":[\"ctrunc\",\"trunc\"]}"),
            "");
  EXPECT_EQ(Damage("{\"ev\":\"fail\",\"port\":\"p1\",\"time\":0.004,\"pid\":101,\"tid\":101,"
                   "\"errno\":\"EAGAIN\"}"),
            "");
  EXPECT_EQ(Damage("{\"ev\":\"again\",\"port\":\"p1\"}"), "");
  EXPECT_EQ(Damage("{\"ev\":\"eof\",\"port\":\"p1\",\"time\":0.8,\"pid\":102}"), "");
  EXPECT_EQ(Damage("{\"ev\":\"exit\",\"pid\":101,\"time\":0.9}"), "");
  EXPECT_EQ(Damage("{\"ev\":\"close\",\"port\":\"p1\",\"time\":1.0}"), "");
}

TEST(JsonLines, ZerosMayBeWrittenEitherWay) {
  const std::string written =
      absl::StrCat("{\"ev\":\"send\",\"port\":\"p\",\"pid\":101,\"data\":\"",
                   DatagramText{.payload = "01"}.Hex(), "0000\"}\n");
  const std::string counted =
      absl::StrCat("{\"ev\":\"recv\",\"port\":\"p\",\"pid\":2,\"data\":\"",
                   DatagramText{.payload = "01"}.Hex(), "\",\"data_zero\":2}\n");
  const TraceReport report = JudgeText(kFirstLine + kOpen + written + counted);
  EXPECT_THAT(Broken(report), IsEmpty());
  EXPECT_EQ(report.result.counts.undelivered, 0u);
  const TraceReport huge =
      JudgeText(absl::StrCat(kFirstLine, kOpen, Send({}, ",\"data_zero\":1000000")));
  EXPECT_THAT(Broken(huge), ElementsAre("IOV-3"));
}

TEST(JsonLines, OfTheOtherByteOrderAreReadSo) {
  const TraceReport report =
      JudgeText("{\"portproof\":1,\"profile\":\"unit-0.2\",\"byte_order\":\"big\"}\n" + kOpen +
                "{\"ev\":\"send\",\"port\":\"p\",\"pid\":101,\"data\":\"00000005000000650000"
                "0d0000000000\"}\n");
  ASSERT_THAT(Broken(report), ElementsAre("HDR-4"));
  EXPECT_EQ(report.result.findings[0].stream, 5u);
  EXPECT_EQ(report.result.findings[0].pid, 101);
}

}  // namespace
}  // namespace portproof
