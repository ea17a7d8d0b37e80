// A line that is scanned is the line that is parsed: in all recordings, damaged, and at
// the edges of what canonical form allows.
#include "oracle/json_event.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "oracle/jsonl_writer.h"
#include "oracle/line_source.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

// With the bytes a line stands before in a LineSource: here such as would be taken for
// more of it.
class Line {
 public:
  explicit Line(const std::string& line)
      : room_(line + std::string(LineSource::kPadding, '7')), size_(line.size()) {}
  std::string_view text() const { return {room_.data(), size_}; }

 private:
  std::string room_;
  size_t size_;
};

std::string Text(const Event& event) {
  const std::string data(event.data.begin(), event.data.end());
  return absl::StrCat(static_cast<int>(event.kind), " ", std::string(event.port), " ",
                      event.time_us, " ", event.pid, " ", event.tid, " ", data, " ",
                      event.zero_bytes, " ", event.size, " ", event.fds, " ", event.rights, " ",
                      event.iov, " ", event.segment_bytes, " ", event.cred_pid, " ", event.max_size,
                      " ", event.max_share, " ", std::string(event.errno_name), " ", event.dgram,
                      event.killed, event.truncated, event.ctrl_truncated);
}

class Both {
 public:
  // What the two make of a line; fails the test where they differ.
  std::string Parse(const std::string& line) {
    const Line padded(line);
    Event by_scan;
    Event by_json;
    const bool scanned = scan_.Parse(padded.text(), by_scan);
    const bool parsed = json_.Parse(padded.text(), by_json);
    EXPECT_EQ(scanned, parsed) << line;
    if (!scanned || !parsed) {
      EXPECT_EQ(scan_.wrong(), json_.wrong()) << line;
      EXPECT_EQ(scan_.port(), json_.port()) << line;
      return scan_.wrong();
    }
    ++good_;
    EXPECT_EQ(Text(by_scan), Text(by_json)) << line;
    return Text(by_scan);
  }
  // The line is in canonical form.
  static bool Scans(const std::string& line) {
    const Line padded(line);
    Event event;
    JsonFields fields;
    return ScanCanonical(padded.text(), event, fields);
  }
  int good() const { return good_; }

 private:
  JsonEventParser scan_;
  JsonEventParser json_ = JsonEventParser(false);
  int good_ = 0;
};

// The lines of every recording as JSON Lines.
std::vector<std::string> RecordedLines() {
  std::vector<std::string> lines;
  class Sink : public EventSink {
   public:
    explicit Sink(std::vector<std::string>& lines)
        : writer_(
              [&lines](std::string_view line) {
                lines.emplace_back(line.substr(0, line.size() - 1));
              },
              TraceInfo()) {}
    void OnEvent(const Event& event) override { writer_.OnEvent(event); }

   private:
    JsonLinesWriter writer_;
  };
  for (const auto& entry : std::filesystem::directory_iterator(TestData("recordings"))) {
    const std::string path = entry.path();
    if (path.find(".strace") == std::string::npos) continue;
    const size_t first = lines.size();
    Sink sink(lines);
    const auto on_info = [](const TraceInfo&) { return absl::OkStatus(); };
    EXPECT_TRUE(ReadTrace({path, {path}}, {}, on_info, sink).ok());
    EXPECT_GT(lines.size(), first + 1);
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(first));  // no event
  }
  return lines;
}

TEST(JsonEvent, EveryRecordedLineIsScannedAsItIsParsed) {
  Both both;
  int scanned = 0;
  const std::vector<std::string> lines = RecordedLines();
  for (const std::string& line : lines) {
    both.Parse(line);
    scanned += Both::Scans(line) ? 1 : 0;
  }
  EXPECT_EQ(static_cast<size_t>(both.good()), lines.size());
  // "kind", "killed" and "flags" alone are left to the parser.
  EXPECT_GT(static_cast<size_t>(scanned), lines.size() * 9 / 10);
}

TEST(JsonEvent, EveryDamagedLineIsTheSameEitherWay) {
  Both both;
  std::mt19937 random(1);
  const std::vector<std::string> lines = RecordedLines();
  const std::string characters = "0123456789abcdefABCDEFx\"\\,:{}[]. -+eE\x01\x7f\xc3\xa9";
  constexpr size_t kTries = 20000;
  for (size_t i = 0; i < kTries; ++i) {
    std::string line = lines[random() % lines.size()];
    if (line.size() > 2000) continue;
    const size_t edits = 1 + random() % 3;
    for (size_t edit = 0; edit < edits && !line.empty(); ++edit) {
      const size_t at = random() % line.size();
      const char with = characters[random() % characters.size()];
      switch (random() % 4) {
        case 0:
          line[at] = with;
          break;
        case 1:
          line.insert(at, 1, with);
          break;
        case 2:
          line.erase(at, 1 + random() % 4);
          break;
        default:
          line.resize(at);
      }
    }
    both.Parse(line);
  }
  EXPECT_GT(both.good(), 1000);
}

TEST(JsonEvent, NumbersAtTheirEdgesAreTheSameEitherWay) {
  Both both;
  const std::vector<std::string> numbers = {"0",
                                            "00",
                                            "01",
                                            "1",
                                            "-1",
                                            "-0",
                                            "1.0",
                                            "1e3",
                                            "2147483647",
                                            "2147483648",
                                            "4294967295",
                                            "4294967296",
                                            "99999999",
                                            "100000000",
                                            "999999999999999999",
                                            "",
                                            " 1",
                                            "1 ",
                                            "0x1",
                                            "1000000000000000000",
                                            "18446744073709551615",
                                            "18446744073709551616",
                                            "9223372036854775808"};
  for (const char* key :
       {"pid", "tid", "fds", "rights", "iov", "segment_bytes", "data_zero", "size"}) {
    for (const std::string& number : numbers) {
      both.Parse(absl::StrCat(R"({"ev":"send","port":"p","data":"","size":2147483648,")", key,
                              "\":", number, "}"));
      both.Parse(absl::StrCat(R"({"ev":"send","port":"p","data":"",")", key, "\":", number, "}"));
    }
  }
  EXPECT_GT(both.good(), 50);
}

TEST(JsonEvent, TimesAreTheSameMicrosecondEitherWay) {
  Both both;
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t seconds = random() % (uint64_t{1} << (1 + random() % 32));
    std::string time = absl::StrCat(seconds, ".");
    for (uint64_t digits = 1 + random() % 7; digits > 0; --digits) {
      time += static_cast<char>('0' + random() % 10);
    }
    both.Parse(absl::StrCat(R"({"ev":"eof","port":"p","time":)", time, "}"));
  }
  EXPECT_EQ(both.good(), 100000);
  for (const char* time :
       {".5", "1.", "1.e2", "1e2", "1E-2", "00.5", "0.0", "-0.5", "2147483647.999999",
        "2147483648.000001", "1e12", "1000000000000.5", "0.1234567", "1.5.5"}) {
    both.Parse(absl::StrCat(R"({"ev":"eof","port":"p","time":)", time, "}"));
  }
}

TEST(JsonEvent, KeysMayStandInAnyOrderAndOnce) {
  Both both;
  EXPECT_TRUE(Both::Scans(R"({"data":"00","port":"p","ev":"send"})"));
  both.Parse(R"({"data":"00","port":"p","ev":"send"})");
  for (const char* line : {R"({"ev":"send","port":"p","data":"00","data":"00"})",
                           R"({"ev":"send","port":"","data":""})",
                           R"({"ev":"send","port":"p","data":"0A0b"})",
                           R"({"ev":"send","port":"p","data":"0"})",
                           R"({"ev":"send","port":"p","data":"0000","size":1})",
                           R"({"ev":"send","port":"p"})",
                           R"({"ev":"again","port":"p"})",
                           R"({"ev":"again","port":"p","errno":"EPIPE"})",
                           R"({"ev":"fail","port":"p"})",
                           R"({"ev":"exit","port":"p","pid":1})",
                           "{}",
                           "{\"",
                           R"({"ev":"send","port":"p","data":""} )",
                           R"({"ev":"send","port":"p","data":""}})",
                           R"({"ev":"send","port":"p","data":"",})",
                           R"({"ev":"send","port":"a\"b","data":""})",
                           R"({"ev":"open","port":"p","max_size":64,"max_share":1,"kind":"dgram"})",
                           R"({"ev":"recv","port":"p","data":"","flags":["trunc"],"cred_pid":7})",
                           R"({"ev":"damage","port":"p"})",
                           R"({"ev":"send","port":"p","data":"","killed":true})"}) {
    both.Parse(line);
  }
  EXPECT_EQ(both.good(), 9);
}

}  // namespace
}  // namespace portproof
