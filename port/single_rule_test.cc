// Rules of sending and receiving that other tests have only together: here each alone.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "port/fault_kernel.h"
#include "port/testing.h"

namespace portproof {
namespace {

using testing::Call;
using testing::Fault;
using testing::FaultKernel;
using testing::LocalPort;
using testing::Newest;
using testing::NewSegment;
using testing::Pattern;
using testing::ProfileOf;
using testing::TextBuffer;

class SingleRuleTest : public testing::CensusTest {};

int NewFile() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

std::vector<std::string> Texts(const LocalPort& port) {
  std::vector<std::string> texts;
  for (const testing::Delivered& delivered : port.delivered) texts.push_back(delivered.text);
  return texts;
}

TEST_F(SingleRuleTest, SND_1_AWriteLeavesAtOnceOrIsAppended) {
  LocalPort port(Newest(), {}, {.messages_max = 2});
  EXPECT_EQ(port.Write("at once", 1), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->queued_messages(), 0U);
  const Buffer buffer = TextBuffer("batched");
  const Outgoing batched = {
      .type = port.data_type, .stream = 2, .batch = true, .chain = {&buffer, 1}};
  EXPECT_EQ(port.sender->Write(batched), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Write(batched), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Write(batched), WriteAnswer::kMessagesFull);
  port.Drain();
  EXPECT_EQ(Texts(port), (std::vector<std::string>{"at once"}));
  port.sender->Flush();
  EXPECT_EQ(port.sender->Write(batched), WriteAnswer::kAccepted);
  // The queue is not empty, the socket is writable: it goes behind.
  EXPECT_EQ(port.Write("appended", 3), WriteAnswer::kAccepted);
  port.sender->Flush();
  port.Drain();
  EXPECT_EQ(Texts(port),
            (std::vector<std::string>{"at once", "batched", "batched", "batched", "appended"}));
}

TEST_F(SingleRuleTest, SND_3_AShortCountFailsThePort) {
  for (const Call call : {Call::kSend, Call::kSendBatch}) {
    FaultKernel kernel({.call = call, .number = 0, .short_count = true});
    LocalPort port(Newest(), {}, {}, {}, kernel);
    const bool batch = call == Call::kSendBatch;
    const Buffer buffer = TextBuffer("text");
    for (uint32_t i = 0; i < 2; ++i) {
      EXPECT_EQ(port.sender->Write(
                    {.type = port.data_type, .stream = i, .batch = batch, .chain = {&buffer, 1}}),
                batch || i == 0 ? WriteAnswer::kAccepted : WriteAnswer::kFailed);
    }
    port.sender->Flush();
    EXPECT_TRUE(kernel.fired());
    EXPECT_FALSE(port.sender->open());
    std::vector<Completion> completions;
    port.sender->TakeCompletions(completions);
    ASSERT_FALSE(completions.empty());
    EXPECT_FALSE(completions.back().ok);
  }
}

TEST_F(SingleRuleTest, SND_9_AGivenDescriptorIsClosedOnceABorrowedOneNever) {
  for (const int error : {0, EMSGSIZE}) {
    const Fault fault = {
        .call = Call::kSend, .number = error == 0 ? ~uint64_t{0} : 0, .error = error};
    FaultKernel kernel(fault);
    LocalPort port(Newest(), {}, {}, {}, kernel);
    const int given = NewFile();
    const int borrowed = NewFile();
    const uint64_t before = kernel.count(Call::kClose);
    EXPECT_EQ(port.sender->Write({.type = port.data_type, .close_fds = true, .fds = {&given, 1}}),
              WriteAnswer::kAccepted);
    EXPECT_EQ(::fcntl(given, F_GETFD), -1) << "with the first datagram, or the failure";
    EXPECT_EQ(port.sender->Write({.type = port.data_type, .fds = {&borrowed, 1}}),
              WriteAnswer::kAccepted);
    port.sender->Close();
    EXPECT_EQ(kernel.count(Call::kClose) - before, 1U);
    EXPECT_EQ(::close(borrowed), 0);
  }
}

// Notes the flags that every send has, and what control data is sent.
class NotingKernel : public RealKernel {
 public:
  ssize_t SendMessage(int fd, const msghdr* message, int flags) override {
    common_flags &= flags;
    NoteControl(*message);
    return RealKernel::SendMessage(fd, message, flags);
  }
  int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) override {
    ++batches;
    common_flags &= flags;
    for (unsigned i = 0; i < count; ++i) NoteControl(messages[i].msg_hdr);
    return RealKernel::SendMessages(fd, messages, count, flags);
  }
  int common_flags = ~0;
  int batches = 0;
  std::set<int> control_types;

 private:
  void NoteControl(msghdr message) {
    for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
         control = CMSG_NXTHDR(&message, control)) {
      control_types.insert(control->cmsg_type);
    }
  }
};

// Linux raises none for these sockets as they are; elsewhere the flag is all there is.
TEST_F(SingleRuleTest, SND_10_EverySendForbidsSigpipe) {
  NotingKernel kernel;
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.Write("alone"), WriteAnswer::kAccepted);
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(port.sender->Write({.type = port.data_type, .batch = true}), WriteAnswer::kAccepted);
  }
  port.sender->Flush();
  EXPECT_EQ(kernel.batches, 1);
  EXPECT_NE(kernel.common_flags & MSG_NOSIGNAL, 0);
}

// A rotates behind C after each datagram, so C's buffer completes before A's.
TEST_F(SingleRuleTest, CMP_2_CompletionsStandAsDatagramsLeft) {
  LocalPort port(Newest(), {}, {}, {.max_size = 1000, .max_share = 1000});
  const std::string text = Pattern(2000, 1);
  const std::array<Buffer, 3> long_chain = {TextBuffer(text, 1), SyncBuffer(true, 2),
                                            TextBuffer("end", 3)};
  const Buffer short_buffer = TextBuffer("short", 4);
  for (const auto& [stream, chain] :
       {std::pair<uint32_t, std::span<const Buffer>>{1, long_chain}, {2, {&short_buffer, 1}}}) {
    EXPECT_EQ(port.sender->Write(
                  {.type = port.data_type, .stream = stream, .batch = true, .chain = chain}),
              WriteAnswer::kAccepted);
  }
  port.sender->Flush();
  std::vector<Completion> completions;
  port.sender->TakeCompletions(completions);
  std::vector<uint64_t> ids;
  ids.reserve(completions.size());
  for (const Completion& completion : completions) ids.push_back(completion.buffer_id);
  EXPECT_EQ(ids, (std::vector<uint64_t>{4, 1, 2, 3}));
}

TEST_F(SingleRuleTest, FRG_5_ABegunMessageIsFinished) {
  const std::string text = Pattern(200'000, 2);
  // The kernel takes one datagram, and has no room for the next.
  FaultKernel kernel({.call = Call::kSendBatch, .number = 0, .error = ENOBUFS, .prefix = 1});
  LocalPort port(Newest(), {}, {}, {.max_size = 1000, .max_share = 2000}, kernel);
  EXPECT_EQ(port.Write(text), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->retry_ms(), kRetryFirstMs);
  port.Drain();
  EXPECT_EQ(port.receiver->open_assemblies(), 1U);
  port.sender->OnRetry();
  for (int i = 0; i < 1000 && port.sender->wants_writable(); ++i) {
    port.Drain();
    port.sender->OnWritable();
  }
  port.Drain();
  EXPECT_TRUE(kernel.fired());
  EXPECT_EQ(port.receiver->open_assemblies(), 0U);
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_TRUE(port.delivered[0].text == text);
}

// Read singly, and several in one call.
TEST_F(SingleRuleTest, FDS_3_ReceivedDescriptorsAreCloseOnExec) {
  LocalPort port;
  int seen = 0;
  port.handler = [&seen](Message& message) {
    for (const OwnedFd& fd : message.fds) {
      EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
      ++seen;
    }
  };
  const int file = ::open("/dev/null", O_RDONLY);
  EXPECT_EQ(port.Write("single", 1, {&file, 1}), WriteAnswer::kAccepted);
  port.Drain();
  port.BeginBatches();
  EXPECT_EQ(port.Write("of a batch", 1, {&file, 1}), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Write("of a batch, too", 2, {&file, 1}), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(::close(file), 0);
}

TEST_F(SingleRuleTest, SHM_4_TwelveBytesGoPlainThirteenAsAReference) {
  for (const uint32_t bytes : {1U, 12U, 13U}) {
    LocalPort port;
    bool shared = false;
    port.handler = [&shared](Message& message) { shared = message.payload.front().shared(); };
    const auto segment = NewSegment(0);
    EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    const auto range = segment->Allocate(bytes);
    ASSERT_TRUE(range.has_value());
    const Buffer buffer = port.sender->BufferIn(*segment, *range, bytes, 0);
    EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&buffer, 1}}),
              WriteAnswer::kAccepted);
    port.Drain();
    ASSERT_EQ(port.delivered.size(), 1U);
    EXPECT_EQ(port.delivered[0].text.size(), bytes);
    EXPECT_EQ(port.delivered[0].header.mmap, bytes > 12) << bytes;
    EXPECT_EQ(shared, bytes > 12) << bytes;
    segment->Release(*range);
  }
}

TEST_F(SingleRuleTest, SOC_4_TheReceiverAsksForCredentialsTheSenderAttachesNone) {
  for (const char* const name : {"unit-1.25.0", "unit-1.26.0", "unit-1.35.0"}) {
    NotingKernel kernel;
    LocalPort port(ProfileOf(name), {}, {}, {}, kernel);
    int asked = -1;
    socklen_t size = sizeof asked;
    ASSERT_EQ(::getsockopt(port.receiver->fd(), SOL_SOCKET, SO_PASSCRED, &asked, &size), 0);
    EXPECT_EQ(asked != 0, ProfileOf(name).credentials) << name;
    const int file = NewFile();
    EXPECT_EQ(port.Write("one", 1), WriteAnswer::kAccepted);
    EXPECT_EQ(port.Write("two", 1, {&file, 1}), WriteAnswer::kAccepted);
    EXPECT_EQ(kernel.control_types, std::set<int>{SCM_RIGHTS}) << name;
    EXPECT_EQ(::close(file), 0);
  }
}

}  // namespace
}  // namespace portproof
