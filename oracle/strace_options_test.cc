// What strace puts around a call, by its options: each is read, or refused by its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "oracle/report.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kPair =
    "socketpair(AF_UNIX, SOCK_SEQPACKET, 0, [8<UNIX:[10->11]>, 9<UNIX:[11->10]>]) = 0";
const DatagramText kWhole{.pid = 101};
const DatagramText kBegun{.pid = 101, .mf = true};

std::string MessageOf(const DatagramText& datagram) {
  std::string bytes;
  const std::string hex = datagram.Hex();
  for (size_t i = 0; i < hex.size(); i += 2) absl::StrAppend(&bytes, "\\x", hex.substr(i, 2));
  return absl::StrCat("{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base=\"", bytes,
                      "\", iov_len=16384}], msg_iovlen=1, msg_controllen=0, msg_flags=0}");
}
std::string SendOf(const DatagramText& datagram) {
  return absl::StrCat("sendmsg(9<UNIX:[11->10]>, ", MessageOf(datagram), ", 0) = 17");
}
std::string RecvOf(const DatagramText& datagram) {
  return absl::StrCat("recvmsg(8<UNIX:[10->11]>, ", MessageOf(datagram), ", 0) = 17");
}

struct Call {
  int tid;
  std::string text;
};

// 101 begins a message and lives on for 20 ms: FRG-5, if the times are read right.
std::vector<Call> Stalled() {
  return {{202, std::string(kPair)},
          {202, "fork() = 101"},
          {101, SendOf(kBegun)},
          {202, RecvOf(kBegun)},
          {101, "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---"},
          {101, SendOf({.stream = 6, .pid = 101})},
          {202, RecvOf({.stream = 6, .pid = 101})}};
}

// Lines 10 ms apart, each with what `prefix` puts before its call.
std::string LinesWith(const std::vector<Call>& calls,
                      const std::function<std::string(int, int)>& prefix) {
  std::string text;
  for (size_t i = 0; i < calls.size(); ++i) {
    absl::StrAppend(&text, prefix(calls[i].tid, static_cast<int>(i)), calls[i].text, "\n");
  }
  return text;
}

std::string Epoch(int index) { return absl::StrFormat("1795402788.%06d ", 10000 * index); }
std::string Since(int index) { return absl::StrFormat("%6d.%06d ", 0, index == 0 ? 0 : 10000); }

struct Option {
  const char* name;
  std::function<std::string(int, int)> prefix;
};

const std::vector<Option>& Options() {
  static const std::vector<Option> kOptions = {
      {"-ttt", [](int tid, int i) { return absl::StrFormat("%-5d %s", tid, Epoch(i)); }},
      {"-ttt -Y", [](int tid, int i) { return absl::StrFormat("%d<u nit> %s", tid, Epoch(i)); }},
      {"-ttt -Y on a terminal",
       [](int tid, int i) { return absl::StrFormat("[pid %5d<unit>] %s", tid, Epoch(i)); }},
      {"-ttt -n", [](int tid, int i) { return absl::StrFormat("%-5d %s[  47] ", tid, Epoch(i)); }},
      {"-ttt -i",
       [](int tid, int i) { return absl::StrFormat("%-5d %s[00007f0f1b2c3d4e] ", tid, Epoch(i)); }},
      {"-ttt -n -i",
       [](int tid, int i) {
         return absl::StrFormat("%-5d %s[  46] [%s] ", tid, Epoch(i), std::string(16, '?'));
       }},
      {"-r", [](int tid, int i) { return absl::StrFormat("%-5d %s", tid, Since(i)); }},
      {"-r, pids of six digits",
       [](int tid, int i) { return absl::StrFormat("1%05d %s", tid, Since(i)); }},
      {"-r on a terminal",
       [](int tid, int i) { return absl::StrFormat("[pid %5d] %s", tid, Since(i)); }},
      {"-r -Y", [](int tid, int i) { return absl::StrFormat("%d<unit> %s", tid, Since(i)); }},
      {"-ttt -r",
       [](int tid, int i) {
         return absl::StrFormat("%-5d %s(+%s) ", tid, Epoch(i), Since(i).substr(0, 13));
       }},
      {"-r -n", [](int tid, int i) { return absl::StrFormat("%-5d %s[  47] ", tid, Since(i)); }},
  };
  return kOptions;
}

TEST(StraceOptions, AreReadWhateverTheyPutBeforeACall) {
  for (const Option& option : Options()) {
    SCOPED_TRACE(option.name);
    const bool six = std::string_view(option.name).find("six") != std::string_view::npos;
    std::string text = LinesWith(Stalled(), option.prefix);
    if (six) text = absl::StrReplaceAll(text, {{"= 101\n", "= 100101\n"}});
    const TraceReport report = JudgeText(text, "unit-0.2");
    EXPECT_EQ(report.log.damaged_count, 0u);
    EXPECT_EQ(report.result.counts.ports, 1u);
    EXPECT_EQ(report.result.counts.datagrams, 2u);
    EXPECT_EQ(report.result.counts.received, 2u);
    EXPECT_EQ(report.result.counts.processes, 2u);
    if (six) continue;  // HDR-7: every header says 101
    ASSERT_THAT(Broken(report), ElementsAre("FRG-5"));
    EXPECT_THAT(report.result.findings[0].detail, HasSubstr("begun at 0.020 s"));
    EXPECT_THAT(report.result.findings[0].detail, HasSubstr("lived 0.0 s more"));
  }
}

// strace -k prints the stack below each call.
TEST(StraceOptions, SkipStackFrames) {
  std::string text;
  for (const Call& call : Stalled()) {
    absl::StrAppend(&text, call.tid, " ", call.text,
                    "\n > /usr/lib/libc.so.6(sendmsg+0x4d) [0x10c5ad]\n > unexpected_backtracing_"
                    "error [0x0]\n");
  }
  const TraceReport report = JudgeText(text, "unit-0.2");
  EXPECT_EQ(report.log.damaged_count, 0u);
  EXPECT_EQ(report.result.counts.received, 2u);
}

std::string Refusal(const std::vector<std::pair<std::string, std::string>>& files) {
  TraceInput input{"t", {}};
  for (const auto& [name, text] : files) input.files.push_back(WriteFile(name, text));
  const auto report = Judge(input, {});
  return report.ok() ? "" : std::string(report.status().message());
}

TEST(StraceOptions, ThatHideWhatIsNeededAreNamed) {
  EXPECT_THAT(Refusal({{"raw", "101 1.0 socketpair(0x1, 0x5, 0, [8, 9]) = 0\n"}}),
              HasSubstr("without strace -X"));
  EXPECT_THAT(Refusal({{"raw", "101 1.0 sendmsg(0x9, 0x7ffe4aa0, 0) = 0x10\n"}}),
              HasSubstr("-e raw"));
  const std::string address = "101 1.0 sendmsg(9<UNIX:[11->10]>, 0x7ffe4aa0, 0) = 16\n";
  EXPECT_THAT(Refusal({{"verbose", address}}), HasSubstr("-e verbose"));
  // One bad address among messages is the caller's, and not the option's.
  EXPECT_EQ(Refusal({{"efault", absl::StrCat("101 1.0 ", SendOf(kWhole), "\n", address)}}), "");
}

TEST(StraceOptions, WhoseTimesOrderNoFilesAreRefused) {
  const auto join = [](const std::string& time) {
    return Refusal({{"t.101", time + std::string(kPair) + "\n"}, {"t.102", time + "fork() = 7\n"}});
  };
  EXPECT_EQ(join("1795402788.000001 "), "");
  EXPECT_EQ(join("06:15:59.123456 "), "");
  EXPECT_THAT(join("     0.000000 "), HasSubstr("relative time of strace -r"));
  EXPECT_THAT(join("06:15:59 "), HasSubstr("whole seconds, as strace -t prints them"));
  EXPECT_THAT(join(""), HasSubstr("found none"));
}

// What strace writes of a call that a signal ended for ever.
TEST(StraceAbandoned, CallsAreNoDamage) {
  const std::string send = SendOf(kWhole);
  const std::string begun = send.substr(0, send.rfind(") ="));
  const std::string recv = "recvmsg(8<UNIX:[10->11]>, ";
  const std::vector<std::vector<std::string>> ends = {
      {"?"
       "?"
       "?( <unfinished ...>",
       "<... ?"
       "?"
       "? resumed>) = ?"},
      {recv + " <unfinished ...>",
       "?"
       "?"
       "?( <unfinished ...>",
       "<... ?"
       "?"
       "? resumed>) = ?"},
      {recv + " <unfinished ...>) = ?"},
      {recv + " <unfinished ...>", "<... recvmsg resumed> <unfinished ...>) = ?"},
      {recv + " <unfinished ...>", "<... recvmsg resumed>0x7ffe, 0) = ?"},
      {recv + "{msg_namelen=0}, 0) = -1 (errno 18446744073709551562)"},
      {recv + " <detached ...>"},
      {begun + ") = -1 (errno 18446744073709551562)"},
      {begun + " <unfinished ...>) = ?"},
      {begun + " <unfinished ...>", "<... sendmsg resumed> <unfinished ...>) = ?"},
      {begun + " <detached ...>"},
      {"ftruncate(12</memfd:x>(deleted), 655380 <unfinished ...>) = ?"},
      {"clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD <unfinished ...>) = ?"},
      {"socketpair(AF_UNIX, SOCK_SEQPACKET, 0,  <unfinished ...>) = ?"},
  };
  for (const auto& end : ends) {
    SCOPED_TRACE(end.back());
    std::string text = absl::StrCat("202 1.0 ", std::string(kPair), "\n202 1.1 fork() = 101\n");
    for (const std::string& line : end) absl::StrAppend(&text, "101 1.2 ", line, "\n");
    absl::StrAppend(&text, "101 1.3 +++ killed by SIGKILL +++\n");
    const TraceReport report = JudgeText(text, "unit-0.2");
    EXPECT_EQ(report.log.damaged_count, 0u);
    EXPECT_THAT(Broken(report), IsEmpty());
    EXPECT_EQ(report.result.counts.datagrams, 0u);
    EXPECT_EQ(report.result.counts.received, 0u);
  }
}

// It may have left, as the receiver shows.
TEST(StraceAbandoned, SendsCountWhereTheyWereReceived) {
  const std::string send = SendOf(kWhole);
  for (const std::string end : {") = -1 (errno 18446744073709551562)", " <unfinished ...>) = ?"}) {
    const std::string text =
        absl::StrCat("202 1.0 ", std::string(kPair), "\n202 1.1 fork() = 101\n101 1.2 ",
                     send.substr(0, send.rfind(") =")), end,
                     "\n101 1.3 +++ killed by SIGKILL +++\n", "202 1.4 ", RecvOf(kWhole), "\n");
    const TraceReport report = JudgeText(text, "unit-0.2");
    EXPECT_EQ(report.result.counts.datagrams, 1u) << end;
    EXPECT_EQ(report.result.counts.undelivered, 0u) << end;
  }
}

class Receivers : public testing::Test {
 protected:
  Receivers() {
    Line(202, std::string(kPair));
    for (int tid = 301; tid <= 303; ++tid) Line(202, absl::StrCat("fork() = ", tid));
    Line(202, "fork() = 101");
    for (uint32_t stream = 1; stream <= 3; ++stream) Line(101, SendOf(Numbered(stream)));
  }
  static DatagramText Numbered(uint32_t stream) { return {.stream = stream, .pid = 101}; }
  void Line(int tid, const std::string& text) {
    absl::StrAppendFormat(&text_, "%-5d 1795402788.%06d %s\n", tid, ++lines_, text);
  }
  void Enter(int tid) { Line(tid, "recvmsg(8<UNIX:[10->11]>,  <unfinished ...>"); }
  void Return(int tid, uint32_t stream) {
    Line(tid, absl::StrCat("<... recvmsg resumed>", MessageOf(Numbered(stream)), ", 0) = 17"));
  }
  void Receive(int tid, uint32_t stream) { Line(tid, RecvOf(Numbered(stream))); }
  void Die(int tid) { Line(tid, "+++ killed by SIGKILL +++"); }
  std::vector<std::string> Judged() { return Broken(JudgeText(text_, "unit-0.2")); }

  std::string text_;
  int lines_ = 0;
};

TEST_F(Receivers, HaveNoOrderWhileTheirCallsOverlap) {
  Enter(301);
  Enter(302);
  Return(301, 2);
  Return(302, 1);
  Receive(301, 3);
  EXPECT_THAT(Judged(), IsEmpty());
}

TEST_F(Receivers, HaveNoOrderWhereOneCallIsInsideTheOther) {
  Enter(301);
  Receive(302, 2);
  Receive(303, 3);
  Return(301, 1);
  EXPECT_THAT(Judged(), IsEmpty());
}

TEST_F(Receivers, AreOrderedWhereOneReturnedBeforeTheOtherWasEntered) {
  Receive(301, 2);
  Enter(302);
  Return(302, 1);
  Receive(301, 3);
  EXPECT_THAT(Judged(), ElementsAre("SOC-3"));
}

TEST_F(Receivers, OfOneThreadAreOrdered) {
  Receive(301, 2);
  Receive(301, 1);
  Receive(301, 3);
  EXPECT_THAT(Judged(), ElementsAre("SOC-3"));
}

// 302 was entered before 301 took the second, but after 301 took the third.
TEST_F(Receivers, AreOrderedByTheEarliestThatPassedOver) {
  Enter(303);
  Receive(301, 3);
  Enter(302);
  Return(303, 1);
  Return(302, 2);
  EXPECT_THAT(Judged(), ElementsAre("SOC-3"));
}

TEST_F(Receivers, LoseADatagramThatNobodyTook) {
  Enter(301);
  Receive(302, 2);
  Return(301, 3);
  EXPECT_THAT(Judged(), ElementsAre("SOC-3"));
}

TEST_F(Receivers, ThatDiedMayHaveTakenADatagram) {
  Enter(301);
  Receive(302, 2);
  Die(301);
  Receive(302, 3);
  EXPECT_THAT(Judged(), IsEmpty());
}

TEST_F(Receivers, EnteredAfterTheLossDoNotExplainIt) {
  Receive(302, 2);
  Enter(301);
  Die(301);
  Receive(302, 3);
  EXPECT_THAT(Judged(), ElementsAre("SOC-3"));
}

TEST_F(Receivers, MayBeInsideACallWhereTheTraceEnds) {
  Enter(301);
  Receive(302, 2);
  EXPECT_THAT(Judged(), IsEmpty());
}

TEST_F(Receivers, ThatWaitTillTheEndDoNotExplainAnOldLoss) {
  Enter(301);
  Receive(302, 2);
  Receive(302, 3);
  for (int i = 0; i < 300; ++i) {
    Line(101, SendOf(Numbered(4)));
    Receive(302, 4);
  }
  EXPECT_THAT(Judged(), ElementsAre("SOC-3"));
}

// The return of a receive is not in such a file, only that it was before the next line.
TEST(StraceFiles, HoldReceivesThatHaveNoOrder) {
  const DatagramText one{.stream = 1, .pid = 101};
  const DatagramText two{.stream = 2, .pid = 101};
  const auto judge = [&](const std::string& second_entered) {
    const TraceInput input{
        "t",
        {WriteFile("t.101", absl::StrCat("1.000000 ", std::string(kPair), "\n1.100000 ",
                                         SendOf(one), "\n1.200000 ", SendOf(two), "\n")),
         WriteFile("t.301", absl::StrCat("1.300000 ", RecvOf(two), "\n1.400000 exit_group(0) = ?\n",
                                         "1.400100 +++ exited with 0 +++\n")),
         WriteFile("t.302",
                   absl::StrCat(second_entered, RecvOf(one), "\n1.600000 close(7) = 0\n"))}};
    JudgeOptions options;
    options.profile = "unit-0.2";
    auto report = Judge(input, options);
    EXPECT_TRUE(report.ok()) << report.status().message();
    return *std::move(report);
  };
  EXPECT_THAT(Broken(judge("1.310000 ")), IsEmpty());
  EXPECT_THAT(Broken(judge("1.150000 ")), IsEmpty());
  const TraceReport ordered = judge("1.500000 ");
  ASSERT_THAT(Broken(ordered), ElementsAre("SOC-3"));
  EXPECT_THAT(TextReport({ordered}, {}), testing::ContainsRegex("line 2 of .*t\\.101"));
  EXPECT_THAT(JsonReport({ordered}, {}), HasSubstr("t.101\",\"detail\""));
}

}  // namespace
}  // namespace portproof
