// The grammar of strace's lines: what each parser reads, how far, and what it refuses.
#include "oracle/strace_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "oracle/strace_message.h"

namespace portproof {
namespace {

using testing::ElementsAre;

// What a parser left unread; nullopt: it refused.
using Rest = std::optional<std::string>;

template <typename Parse>
Rest RestAfter(std::string_view text, Parse parse) {
  Cursor cursor(text);
  if (!parse(cursor)) return std::nullopt;
  return std::string(cursor.Rest());
}

struct StringRead {
  Rest rest;
  std::vector<int> bytes;
  bool cut = false;
};

StringRead ReadString(std::string_view text) {
  StringRead read;
  ByteBuffer buffer;
  read.rest = RestAfter(text, [&](Cursor& c) { return ParseString(c, buffer, read.cut); });
  for (const uint8_t byte : buffer.bytes()) read.bytes.push_back(byte);
  return read;
}

TEST(StraceText, StringsInHex) {
  EXPECT_EQ(ReadString(R"("")").rest, "");
  EXPECT_THAT(ReadString(R"("\x00\x9f\xa0\xff",)").bytes, ElementsAre(0x00, 0x9f, 0xa0, 0xff));
  EXPECT_EQ(ReadString(R"("\x00\x9f\xa0\xff",)").rest, ",");
  EXPECT_THAT(ReadString(R"("\x01\x02\x03\x04\x05\x06\x07\x08\x09")").bytes,
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_TRUE(ReadString(R"("\x01"...)").cut);
  EXPECT_EQ(ReadString(R"("\x01"..., x)").rest, ", x");
  EXPECT_FALSE(ReadString(R"("\x01")").cut);
  for (const std::string_view bad :
       {R"("\x01)", R"(\x01")", R"("\x0")", R"("\x0g")", R"("\xg0")", R"("\x:0\x00\x00\x00")",
        R"("\x00\x00\x00\x/0")", R"("\x00\x00\x00\x0`")", R"("\x00a")", R"("\x00\n")",
        "\"\\x00\xff"}) {
    EXPECT_EQ(ReadString(bad).rest, std::nullopt) << bad;
  }
}

TEST(StraceText, StringsQuoted) {
  EXPECT_THAT(ReadString(R"("\5\0a\12\377\0001")").bytes, ElementsAre(5, 0, 'a', 10, 255, 0, '1'));
  EXPECT_THAT(ReadString(R"("\t\n\v\f\r\a\"\\\b\'\<\>")").bytes,
              ElementsAre(9, 10, 11, 12, 13, 7, '"', '\\', 8, '\'', '<', '>'));
  EXPECT_THAT(ReadString(R"("7\78")").bytes, ElementsAre('7', 7, '8'));
  EXPECT_THAT(ReadString(R"(" ~")").bytes, ElementsAre(' ', '~'));
  EXPECT_EQ(ReadString(R"("a\"b" rest)").rest, " rest");
  for (const std::string_view bad : {"", "a\"", "\"a", R"("\400")", R"("\8")", R"("\q")", "\"\\",
                                     "\"a\x1f\"", "\"a\x7f\"", "\"a\xc3\""}) {
    EXPECT_EQ(ReadString(bad).rest, std::nullopt) << bad;
  }
}

TEST(StraceText, Numbers) {
  const auto number = [](std::string_view text) {
    uint64_t value = 77;
    const Rest rest = RestAfter(text, [&](Cursor& c) { return ParseUnsigned(c, value); });
    return std::pair(rest, value);
  };
  EXPECT_EQ(number("0x"), std::pair(Rest("x"), uint64_t{0}));
  EXPECT_EQ(number("1844674407370955161 "), std::pair(Rest(" "), uint64_t{1844674407370955161}));
  EXPECT_EQ(number("x").first, std::nullopt);
  EXPECT_EQ(number("").first, std::nullopt);
  EXPECT_EQ(number("123456789012345678901234").first, std::nullopt);
  const auto integer = [](std::string_view text) {
    int64_t value = 77;
    const Rest rest = RestAfter(text, [&](Cursor& c) { return ParseSigned(c, value); });
    return std::pair(rest, value);
  };
  EXPECT_EQ(integer("-12)"), std::pair(Rest(")"), int64_t{-12}));
  EXPECT_EQ(integer("12"), std::pair(Rest(""), int64_t{12}));
  EXPECT_EQ(integer("0"), std::pair(Rest(""), int64_t{0}));
  EXPECT_EQ(integer("-").first, std::nullopt);
  EXPECT_EQ(integer("--1").first, std::nullopt);
}

struct FdRead {
  Rest rest;
  FdText fd;
};
FdRead ReadFd(std::string_view text) {
  FdRead read;
  read.rest = RestAfter(text, [&](Cursor& c) { return ParseFd(c, read.fd); });
  return read;
}

TEST(StraceText, Descriptors) {
  using enum FdText::Kind;
  const auto socket = ReadFd("9<UNIX:[11->10]>, ");
  EXPECT_EQ(socket.rest, ", ");
  EXPECT_EQ(socket.fd.fd, 9);
  EXPECT_EQ(socket.fd.kind, kUnix);
  EXPECT_EQ(socket.fd.inode, 11u);
  EXPECT_EQ(socket.fd.peer, 10u);
  EXPECT_EQ(ReadFd("9<UNIX:[11]>").fd.peer, 0u);
  EXPECT_EQ(ReadFd("9<UNIX-SEQPACKET:[11->10]>").fd.kind, kUnix);
  EXPECT_EQ(ReadFd("9<socket:[11]>").fd.kind, kUnix);
  EXPECT_EQ(ReadFd("9<UNIX-DGRAM:[11->10]>").fd.kind, kUnixDgram);
  EXPECT_EQ(ReadFd("9<UNIX-STREAM:[11->10]>").fd.kind, kUnixStream);
  EXPECT_EQ(ReadFd(R"(9<UNIX:[11->10,"/a]>"]>!)").rest, "!");
  EXPECT_EQ(ReadFd(R"(9<UNIX:[11->10,@"a"]>!)").rest, "!");
  const auto file = ReadFd("-100</memfd:x>(deleted), 1");
  EXPECT_EQ(file.rest, ", 1");
  EXPECT_EQ(file.fd.fd, -100);
  EXPECT_EQ(file.fd.kind, kOther);
  EXPECT_EQ(file.fd.description, "/memfd:x");
  EXPECT_EQ(ReadFd("3<TCP:[1.2.3.4:5->1.2.3.4:6]>]").fd.description, "TCP:[1.2.3.4:5->1.2.3.4:6]");
  EXPECT_EQ(ReadFd("3<TCP:[1.2.3.4:5->1.2.3.4:6]>]").rest, "]");
  for (const std::string_view plain : {"9", "9,", "9]"}) {
    EXPECT_EQ(ReadFd(plain).rest, std::string(plain.substr(1))) << plain;
    EXPECT_EQ(ReadFd(plain).fd.kind, kPlain);
  }
  for (const std::string_view bad :
       {"", "x", "9x", "9\xff", "9<", "9<UNIX:[>", "9<UNIX:[11->]>", "9<UNIX:[11->10>",
        "9<UNIX:[11->10,x]>", "9<UNIX:[11->10,\"x]>", "9<a", "9<a\x01>"}) {
    EXPECT_EQ(ReadFd(bad).rest, std::nullopt) << bad;
  }
}

TEST(StraceText, ValuesToSkip) {
  const auto skip = [](std::string_view text) {
    return RestAfter(text, [](Cursor& c) { return SkipValue(c); });
  };
  EXPECT_EQ(skip("0, 1"), ", 1");
  EXPECT_EQ(skip("MSG_A|MSG_B)"), ")");
  EXPECT_EQ(skip("{a=[1, {b=(2)}]}, 3"), ", 3");
  EXPECT_EQ(skip(R"("a, ]\"b", 3)"), ", 3");
  EXPECT_EQ(skip("x"), "");
  for (const std::string_view bad :
       {"", ", 1", ")", "{a", "[1", "\"a", "\"a\\", "a\x01", "(1", "\x7f"}) {
    EXPECT_EQ(skip(bad), std::nullopt) << bad;
  }
}

TEST(StraceText, Results) {
  const auto result = [](std::string_view text) {
    ResultText read;
    Cursor cursor(text);
    std::string shown = ParseResult(cursor, read) ? "" : "refused";
    if (!shown.empty()) return shown;
    return std::string(read.unknown ? "?" : std::to_string(read.value)) + " " +
           std::string(read.errno_name);
  };
  EXPECT_EQ(result(") = 17"), "17 ");
  EXPECT_EQ(result(")       = 0"), "0 ");
  EXPECT_EQ(result(") = 14306<unit>"), "14306 ");
  EXPECT_EQ(result(") = 16 <0.000123>"), "16 ");
  EXPECT_EQ(result(") = -1 EAGAIN (Resource temporarily unavailable)"), "-1 EAGAIN");
  EXPECT_EQ(result(") = -1 E2BIG"), "-1 E2BIG");
  EXPECT_EQ(result(") = ?"), "? ");
  EXPECT_EQ(result(") = ? <unavailable>"), "? ");
  EXPECT_EQ(result(") = ? ERESTARTSYS (To be restarted)"), "? EINTR");
  EXPECT_EQ(result(") = -1 (errno 18446744073709551562)"), "? ");
  for (const std::string_view bad : {"", "= 1", ") 1", ") =1", ") = ", ") = x", ") = 1x", ") = -1",
                                     ") = -1EPIPE", ") = -1 pipe", ") = ?x", ") = ?\xff"}) {
    EXPECT_EQ(result(bad), "refused") << bad;
  }
  ResultText last;
  EXPECT_TRUE(ParseLastResult("{a=1) = 2}, x = 3) = 44", last));
  EXPECT_EQ(last.value, 44);
  EXPECT_TRUE(ParseLastResult("0x7f, 0) = 5 <0.1> = x", last));
  EXPECT_EQ(last.value, 5);
  EXPECT_FALSE(ParseLastResult("nothing", last));
  EXPECT_FALSE(ParseLastResult(" = 3", last));
  EXPECT_FALSE(ParseLastResult("", last));
}

TEST(StraceText, Times) {
  const auto time = [](std::string_view text) {
    const StraceLine line = SplitLine(text);
    return line.kind == LineKind::kBad ? int64_t{-1} : line.time_us;
  };
  EXPECT_EQ(time("7 1.5 a()"), 1500000);
  EXPECT_EQ(time("7 1795402788.240449 a()"), 1795402788240449);
  EXPECT_EQ(time("7 1.0000019 a()"), 1000001);
  EXPECT_EQ(time("7 00:00:01 a()"), 1000000);
  EXPECT_EQ(time("7 23:59:60.25 a()"), 86400250000);
  EXPECT_EQ(time("7 01:02:03.000004 a()"), 3723000004);
  EXPECT_EQ(time("7 1795402788 a()"), 1795402788000000);
  EXPECT_EQ(time("7 a()"), kNoTime);
  EXPECT_EQ(time("1.5 a()"), 1500000);
  EXPECT_EQ(time("7 1000000000000.5 a()"), 1000000000000500000);
  for (const std::string_view bad : {"7 24:00:00 a()",
                                     "7 00:60:00 a()",
                                     "7 00:00:61 a()",
                                     "7 1:2 a()",
                                     "7 1:x:1 a()",
                                     "7 1.5a()",
                                     "7 1000000000001.5 a()",
                                     "7 00:00:01a()",
                                     "7 1x a()",
                                     "2147483648 1.0 a()",
                                     "[pid 2147483648] 1.0 a()",
                                     "[pid 7 1.0 a()",
                                     "[pid x] 1.0 a()",
                                     "7<x 1.0 a()",
                                     "[pid 7<x] 1.0 a()",
                                     "7 1.0 (+ 0.1 a()",
                                     "7<x>1.0 a()",
                                     "7 ",
                                     "7",
                                     ""}) {
    EXPECT_EQ(time(bad), -1) << bad;
  }
  EXPECT_EQ(SplitLine("2147483647 1.0 a()").tid, 2147483647);
  EXPECT_EQ(SplitLine("[pid 2147483647] 1.0 a()").tid, 2147483647);
  EXPECT_EQ(SplitLine("7 06:15:59.1 a()").time_base, TimeBase::kMidnight);
  EXPECT_EQ(SplitLine("7 1.1 a()").time_base, TimeBase::kEpoch);
  EXPECT_EQ(SplitLine("7          0.100000 a()").time_base, TimeBase::kLastLine);
  EXPECT_EQ(SplitLine("7        123.100000 a()").time_base, TimeBase::kLastLine);
  EXPECT_EQ(SplitLine("7     1.100000 a()").time_base, TimeBase::kEpoch);
  EXPECT_EQ(SplitLine("7 a()").time_base, TimeBase::kNone);
  EXPECT_TRUE(SplitLine("7 06:15:59 a()").whole_seconds);
  EXPECT_FALSE(SplitLine("7 06:15:59.0 a()").whole_seconds);
  EXPECT_EQ(SplitLine("12345 1.0 a()").column, 6u);
  EXPECT_EQ(SplitLine("101   1.0 a()").column, 6u);
  EXPECT_EQ(SplitLine("1.0 a()").column, 0u);
}

TEST(StraceText, Lines) {
  const auto kind = [](std::string_view text) { return SplitLine(text).kind; };
  EXPECT_EQ(kind("7 a()"), LineKind::kCall);
  EXPECT_EQ(SplitLine("7 send_msg4(1, 2) = 3").name, "send_msg4");
  EXPECT_EQ(SplitLine("7 a(1, 2) = 3").args, "1, 2) = 3");
  EXPECT_EQ(kind("7 a(1 <unfinished ...>"), LineKind::kUnfinished);
  EXPECT_EQ(SplitLine("7 a(1 <unfinished ...>").args, "1");
  EXPECT_FALSE(SplitLine("7 a(1 <unfinished ...>").abandoned);
  EXPECT_EQ(kind("7 a(1 <unfinished ...>) = ?"), LineKind::kUnfinished);
  EXPECT_TRUE(SplitLine("7 a(1 <unfinished ...>) = ?").abandoned);
  EXPECT_TRUE(SplitLine("7 a(1 <detached ...>").abandoned);
  EXPECT_EQ(SplitLine("7 a(1 <detached ...>").args, "1");
  EXPECT_EQ(kind("7 <... a resumed>) = 1"), LineKind::kResumed);
  EXPECT_EQ(SplitLine("7 <... a resumed>) = 1").args, ") = 1");
  EXPECT_TRUE(SplitLine("7 <... a resumed> <unfinished ...>) = ?").abandoned);
  EXPECT_EQ(kind("7 +++ exited with 0 +++"), LineKind::kExited);
  EXPECT_EQ(kind("7 +++ killed by SIGKILL +++"), LineKind::kKilled);
  EXPECT_EQ(kind("7 +++ superseded by execve in pid 9 +++"), LineKind::kNoise);
  EXPECT_EQ(kind("7 --- SIGCHLD {} ---"), LineKind::kNoise);
  for (const std::string_view noise : {"strace: Process 7 attached", "[ Process PID=7 runs ]",
                                       "7 strace: x", " > /lib/libc.so(send+0x1) [0x2]"}) {
    EXPECT_EQ(kind(noise), LineKind::kNoise) << noise;
  }
  for (const std::string_view bad :
       {"7 +++ exited with 0", "7 --- SIGCHLD {}", "7 -x- SIGCHLD ---", "7 <... a resum", "7 <a",
        "7 (1)", "7 A()", "7 a[1]", "7 ?\?(", "7 [pid", "hello"}) {
    EXPECT_EQ(kind(bad), LineKind::kBad) << bad;
  }
}

struct MessageRead {
  Rest rest;
  MessageText message;
};
MessageRead ReadMessageText(std::string_view text) {
  MessageRead read;
  read.message.Clear();
  read.rest = RestAfter(text, [&](Cursor& c) { return ParseMessage(c, read.message); });
  return read;
}

TEST(StraceText, Messages) {
  const auto full = ReadMessageText(
      R"({msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="\x01", iov_len=1}, {iov_base="\x02\x03",)"
      R"( iov_len=2}], msg_iovlen=2, msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET,)"
      R"( cmsg_type=SCM_RIGHTS, cmsg_data=[10</x>]}, {cmsg_len=24, cmsg_level=SOL_SOCKET,)"
      R"( cmsg_type=SCM_RIGHTS, cmsg_data=[11, 12]}, {cmsg_len=28, cmsg_level=SOL_SOCKET,)"
      R"( cmsg_type=SCM_CREDENTIALS, cmsg_data={pid=2147483647, uid=0, gid=0}}, {cmsg_len=32,)"
      R"( cmsg_level=SOL_SOCKET, cmsg_type=SO_TIMESTAMP_OLD, cmsg_data={tv_sec=1}}, {cmsg_len=17,)"
      R"( cmsg_level=SOL_IP, cmsg_type=0x1, cmsg_data="x"}], msg_controllen=96,)"
      R"( msg_flags=MSG_TRUNC|MSG_CTRUNC}, 0)");
  ASSERT_EQ(full.rest, ", 0");
  EXPECT_EQ(full.message.bytes.size(), 3u);
  EXPECT_EQ(full.message.iov, 2u);
  EXPECT_EQ(full.message.rights, 2u);
  EXPECT_EQ(full.message.fds, 3u);
  EXPECT_EQ(full.message.cred_pid, 2147483647);
  EXPECT_EQ(full.message.first_fd, "/x");
  EXPECT_EQ(full.message.first_fd_number, 10);
  EXPECT_TRUE(full.message.truncated);
  EXPECT_TRUE(full.message.ctrl_truncated);
  EXPECT_FALSE(full.message.cut);
  const auto with_flags = [](const std::string& flags) {
    return ReadMessageText("{msg_iov=[], msg_flags=" + flags + "}");
  };
  EXPECT_FALSE(with_flags("0").message.truncated);
  EXPECT_FALSE(with_flags("MSG_CTRUNC").message.truncated);
  EXPECT_FALSE(with_flags("MSG_TRUNC").message.ctrl_truncated);
  EXPECT_TRUE(with_flags("MSG_EOR|MSG_TRUNC").message.truncated);
  EXPECT_EQ(with_flags("0x40000000").rest, "");
  EXPECT_EQ(with_flags("x").rest, std::nullopt);
  EXPECT_EQ(with_flags("").rest, std::nullopt);
  const auto with_iov = [](const std::string& iov) {
    return ReadMessageText("{msg_iov=" + iov + ", msg_iovlen=1}");
  };
  EXPECT_TRUE(with_iov(R"([{iov_base="\x01"..., iov_len=9}])").message.cut);
  EXPECT_TRUE(with_iov(R"([{iov_base=0x7ffe, iov_len=9}])").message.cut);
  EXPECT_FALSE(with_iov(R"([{iov_base=NULL, iov_len=0}])").message.cut);
  EXPECT_TRUE(with_iov(R"([{iov_base="", iov_len=0}, ...])").message.cut);
  EXPECT_EQ(with_iov("NULL").rest, "");
  EXPECT_EQ(with_iov("0x7ffe").rest, "");
  const auto with_control = [](const std::string& control) {
    return ReadMessageText("{msg_control=" + control + ", msg_controllen=1}");
  };
  EXPECT_EQ(with_control("NULL").rest, "");
  EXPECT_EQ(
      with_control("[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS}]").message.fds, 1u);
  EXPECT_EQ(
      with_control("[{cmsg_len=16, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS}]").message.fds, 0u);
  EXPECT_EQ(with_control("[{cmsg_len=1, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS}]").message.fds,
            0u);
  EXPECT_EQ(with_control("[{cmsg_len=24, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, "
                         "cmsg_data=[1, ...]}, ...]")
                .message.fds,
            2u);
  for (const std::string bad :
       {"[{cmsg_len=x}]", "[{cmsg_len=20}]",
        "[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS",
        "[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[x]}]",
        "[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[1}]",
        "[{cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, cmsg_data={pid=-1}}]",
        "[{cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, "
        "cmsg_data={pid=2147483648}}]",
        "[{cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, cmsg_data={uid=1}}]",
        "[{cmsg_len=28, cmsg_level=SOL_SOCKET, cmsg_type=SCM_CREDENTIALS, cmsg_data={pid=1",
        "[{cmsg_len=20, cmsg_level=SOL_IP, cmsg_type=x", "[", ""}) {
    EXPECT_EQ(with_control(bad).rest, std::nullopt) << bad;
  }
  for (const std::string bad :
       {"[{iov_base=\"a, iov_len=1}]", "[{iov_len=1}]", "[{iov_base=\"\"}]",
        "[{iov_base=\"\", iov_len=x}]", "[{iov_base=\"\", iov_len=1]", "[x]", ""}) {
    EXPECT_EQ(with_iov(bad).rest, std::nullopt) << bad;
  }
  for (const std::string_view bad :
       {"", "msg_iov=[]}", "{", "{x=1}", "{msg_iov=[]", "{msg_iov=[] }", "{msg_iov=[], }",
        "{msg_iov=[], x=1}", "{msg_name=}"}) {
    EXPECT_EQ(ReadMessageText(bad).rest, std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace portproof
