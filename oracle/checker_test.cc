// What the checker once said too much or too little, by rule.
#include "oracle/checker.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using Rules = std::vector<std::string>;

Rules BrokenIn(const std::string& events) {
  return Broken(JudgeText(kFirstLine + kOpen + events, "unit-0.2"));
}

std::string Exit(int pid) { return "{\"ev\":\"exit\",\"pid\":" + std::to_string(pid) + "}\n"; }

const DatagramText kFirst = {.mf = true};
const DatagramText kMiddle = {.nf = true, .mf = true, .payload = "bb"};
const DatagramText kFinal = {.nf = true, .payload = "cc"};

// A recorder shows the death of a thread inside its send before the receipt of what it sent.
TEST(CheckerTest, Frg2NotOfAFragmentReceivedAfterItsSenderWasKilledInTheSend) {
  for (const DatagramText& last : {kMiddle, kFinal}) {
    EXPECT_EQ(BrokenIn(Both(kFirst) + Send(last, ",\"killed\":true") + Exit(101) + Recv(last)),
              Rules());
  }
}

TEST(CheckerTest, Frg1NotOfTheNextProcessWithThatPid) {
  EXPECT_EQ(BrokenIn(Both(kFirst) + Send(kMiddle, ",\"killed\":true") + Exit(101) + Recv(kMiddle) +
                     Both(kFirst) + Both(kFinal)),
            Rules());
}

TEST(CheckerTest, Frg2NotOfWhatIsReceivedOfTheDeadWhereNoSendIsRecorded) {
  EXPECT_EQ(BrokenIn(Recv(kFirst) + Exit(101) + Recv(kMiddle) + Recv(kFinal)), Rules());
}

TEST(CheckerTest, Frg5NotOfAMessageOfTheDeadWhereNoSendIsRecorded) {
  const DatagramText other = {.stream = 6, .pid = 103};
  EXPECT_EQ(BrokenIn(Exit(101) + Recv(kFirst) + Recv(kMiddle) + Recv(other) + Recv(other)),
            Rules());
}

// One defect is one finding: a datagram without a header may have been any fragment.
TEST(CheckerTest, Hdr1ExplainsOneFindingAboutTheMessagesOfItsSender) {
  const std::string where = "\"port\":\"p\",\"data\":\"05\"";
  const std::string cut = "{\"ev\":\"send\",\"pid\":101,\"tid\":101," + where +
                          "}\n{\"ev\":\"recv\",\"pid\":202,\"tid\":202," + where + "}\n";
  EXPECT_EQ(BrokenIn(cut + Both(kMiddle) + Both(kFinal)), Rules({"HDR-1"}));
  EXPECT_EQ(BrokenIn(Both(kFirst) + cut + Both(kFirst) + Both(kFinal)), Rules({"HDR-1"}));
  EXPECT_EQ(BrokenIn(Both(kFirst) + cut + Both({}) + Both(kFirst) + Both(kFinal)),
            Rules({"HDR-1"}));
  const DatagramText other = {.stream = 6, .nf = true};
  EXPECT_EQ(BrokenIn(cut + Both(kFinal) + Both(other)), Rules({"HDR-1", "FRG-2"}));
}

TEST(CheckerTest, Shm2OfAFinalFragmentThatNamesAChunkOfAnEarlierOne) {
  const std::string hex = "000000000000000064000000";  // segment 0, chunk 0, 100 bytes
  const std::string announcement =
      Send({.stream = 0, .type = 8, .last = true, .payload = ""}, ",\"fds\":1") +
      Recv({.stream = 0, .type = 8, .last = true, .payload = ""}, ",\"fds\":1");
  EXPECT_EQ(BrokenIn(announcement + Both({.mmap = true, .mf = true, .payload = hex}) +
                     Both({.mmap = true, .nf = true, .payload = hex})),
            Rules({"SHM-2"}));
}

TEST(CheckerTest, Shm2NotWhereTheAnnouncementMayHaveBeenToThisReceiver) {
  const DatagramText announcement = {.stream = 0, .type = 8, .last = true, .payload = ""};
  const std::string reference = Both({.mmap = true, .payload = "000000000000000064000000"});
  // Only its receipt is recorded; or its port ended before anybody read it.
  for (const std::string& announced :
       {Recv(announcement, ",\"fds\":1"), Send(announcement, ",\"fds\":1")}) {
    const std::string closed = "{\"ev\":\"close\",\"port\":\"p\"}\n";
    EXPECT_EQ(BrokenIn(absl::StrCat(announced, closed, kOpen, reference)), Rules());
  }
}

TEST(CheckerTest, Frg5StaysExplainedByAnEndThatLostItsNf) {
  const DatagramText end = {.payload = "cc"};
  const DatagramText next = {.type = 11};
  EXPECT_EQ(BrokenIn(Both(kFirst) + Both(end) + Both(next) + Both({.stream = 6})),
            Rules({"FRG-6", "FRG-6"}));
}

// Whatever its length, whichever byte it is.
TEST(CheckerTest, Soc3OfEveryByteThatIsReceivedOtherwise) {
  for (size_t payload = 1; payload <= 50; ++payload) {
    DatagramText sent;
    for (size_t i = 0; i < payload; ++i) absl::StrAppend(&sent.payload, "0", i % 4);
    for (size_t at = 0; at < sent.payload.size(); ++at) {
      DatagramText received = sent;
      received.payload[at] = received.payload[at] == '7' ? '6' : '7';
      ASSERT_EQ(BrokenIn(Send(sent) + Recv(received)), Rules{"SOC-3"}) << payload << " " << at;
    }
    ASSERT_EQ(BrokenIn(Send(sent) + Recv(sent)), Rules()) << payload;
  }
}

// Zeros at the end may be counted instead, as many of them as there are.
TEST(CheckerTest, Soc3NotOfZerosThatAreOnlyCounted) {
  for (size_t payload = 1; payload <= 50; ++payload) {
    for (size_t zeros = 0; zeros <= payload; ++zeros) {
      DatagramText sent = {.payload = std::string(2 * (payload - zeros), '7')};
      const std::string counted = Recv(sent, ",\"data_zero\":" + std::to_string(zeros));
      const std::string fewer = Recv(sent, ",\"data_zero\":" + std::to_string(zeros + 1));
      sent.payload.append(2 * zeros, '0');
      ASSERT_EQ(BrokenIn(Send(sent) + counted), Rules()) << payload << " " << zeros;
      ASSERT_EQ(BrokenIn(Send(sent) + fewer), Rules{"SOC-3"}) << payload << " " << zeros;
    }
  }
}

// Of many zeros not all are kept, wherever the line begins to count them.
TEST(CheckerTest, Soc3NotOfManyZerosCountedFromElsewhere) {
  const DatagramText none = {.payload = ""};
  for (size_t written = 1; written <= 40; ++written) {
    const DatagramText some = {.payload = std::string(2 * written, '0')};
    EXPECT_EQ(BrokenIn(Send(some, ",\"data_zero\":200000") +
                       Recv(none, ",\"data_zero\":" + std::to_string(200000 + written))),
              Rules{"IOV-3"})
        << written;
  }
}

}  // namespace
}  // namespace portproof
