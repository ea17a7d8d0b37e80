#include "oracle/testing.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "protocol/header.h"

namespace portproof {

std::string WriteFile(const std::string& name, std::string_view content) {
  std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string TestData(const std::string& path) { return "testdata/" + path; }

TraceReport JudgeFile(const std::string& path, const JudgeOptions& options) {
  auto report = Judge({path, {path}}, options);
  EXPECT_TRUE(report.ok()) << report.status().message();
  return report.ok() ? *std::move(report) : TraceReport();
}

TraceReport JudgeText(std::string_view text, const std::string& profile) {
  JudgeOptions options;
  options.profile = profile;
  return JudgeFile(WriteFile("trace", text), options);
}

std::vector<std::string> Broken(const TraceReport& report) {
  std::vector<std::string> ids;
  for (const Violation& found : report.result.findings) {
    if (found.severity != Severity::kNote) ids.emplace_back(Id(found.rule));
  }
  return ids;
}

std::string DatagramText::Hex() const {
  Header header;
  header.stream = stream;
  header.pid = pid;
  header.reply_port = reply_port;
  header.type = type;
  header.last = last;
  header.mmap = mmap;
  header.nf = nf;
  header.mf = mf;
  const auto bytes = EncodeHeader(header, ByteOrder::kLittle);
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()}) +
         payload;
}

std::string Send(const DatagramText& datagram, const std::string& more) {
  return absl::StrCat("{\"ev\":\"send\",\"port\":\"p\",\"pid\":", datagram.pid,
                      ",\"tid\":", datagram.pid, ",\"data\":\"", datagram.Hex(), "\"", more, "}\n");
}

std::string Recv(const DatagramText& datagram, const std::string& more) {
  return absl::StrCat("{\"ev\":\"recv\",\"port\":\"p\",\"pid\":202,\"data\":\"", datagram.Hex(),
                      "\"", more, "}\n");
}

std::string Both(const DatagramText& datagram) { return Send(datagram) + Recv(datagram); }

std::string EventBy(const std::string& kind, int pid, const std::string& more) {
  return absl::StrCat("{\"ev\":\"", kind, "\",\"port\":\"p\",\"pid\":", pid, ",\"tid\":", pid, more,
                      "}\n");
}

std::string SendBy(int pid, const DatagramText& datagram, const std::string& more) {
  return EventBy("send", pid, absl::StrCat(more, ",\"data\":\"", datagram.Hex(), "\""));
}

std::string RecvBy(int pid, const DatagramText& datagram, const std::string& more) {
  return EventBy("recv", pid, absl::StrCat(more, ",\"data\":\"", datagram.Hex(), "\""));
}

std::vector<std::string> BrokenIn(const std::string& events) {
  return Broken(JudgeText(absl::StrCat(kFirstLine, kOpen, events), "unit-0.2"));
}

}  // namespace portproof
