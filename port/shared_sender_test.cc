// Several threads write to one send end: CMP-6, SND-6, SND-7, SND-8, SND-13.
//   bazel test --config=tsan //port:shared_sender_test
#include "port/shared_sender.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "port/fault_kernel.h"
#include "port/receiver.h"
#include "port/test_signal.h"
#include "port/testing.h"

namespace portproof {
namespace {

using testing::Newest;
using testing::OpenDescriptors;
using testing::Pattern;
using testing::Signal;
using testing::TextBuffer;
using testing::TextOf;

constexpr uint8_t kData = 27;
constexpr uint32_t kThreads = 4;
constexpr uint32_t kMessages = 400;
constexpr PortSizes kSizes = {.max_size = 512, .max_share = 1024};

// The loop's thread: it attends when it is woken, and when the socket has room and that is
// wanted; never else.
class Loop {
 public:
  Loop(Workspace& workspace, OwnedFd socket) {
    auto adopted = SharedSender::Adopt(workspace, std::move(socket),
                                       {.profile = &Newest(), .sizes = kSizes}, [this] {
                                         ++wakes;
                                         woken_.Tell();
                                       });
    EXPECT_TRUE(adopted.ok()) << adopted.status();
    sender = *std::move(adopted);
  }
  // `written` is told when nobody writes any more.
  void RunUntilIdle(const Signal& written) {
    for (bool writing = true; writing || sender->queued_messages() != 0;) {
      const std::optional<uint32_t> retry_ms = sender->retry_ms();
      const short room = sender->wants_writable() ? POLLOUT : 0;
      pollfd polled[] = {
          {woken_.fd(), POLLIN, 0}, {written.fd(), POLLIN, 0}, {sender->fd(), room, 0}};
      const int ready = ::poll(polled, 3, retry_ms ? static_cast<int>(*retry_ms) : -1);
      if (ready == 0) sender->OnRetry();
      if (ready <= 0) continue;
      if (polled[1].revents != 0) {
        written.Clear();
        writing = false;
      }
      if (polled[0].revents != 0) woken_.Clear();
      if (polled[0].revents != 0 || polled[2].revents != 0) sender->Attend();
    }
  }

  std::shared_ptr<SharedSender> sender;
  std::atomic<uint32_t> wakes{0};

 private:
  Signal woken_;
};

// A writer's messages carry its number; every seventh has a descriptor. It waits for what it
// wrote when much is on its way.
void WriteAll(const std::shared_ptr<SharedSender>& sender, uint32_t number, uint32_t& completed) {
  Workspace workspace;
  const auto told = std::make_shared<Signal>();  // perhaps after the writer is gone
  SharedSender::Writer writer(sender, workspace, [told] { told->Tell(); });
  std::vector<std::string> texts;
  texts.reserve(kMessages);
  std::vector<Completion> completions;
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (uint32_t i = 0; i < kMessages; ++i) {
    texts.push_back(std::to_string(number) + ":" + std::to_string(i) + ":" +
                    Pattern(i % 5 == 0 ? 1500 : 10, i));
    const Buffer buffer = TextBuffer(texts.back(), i);
    const Outgoing message = {.type = kData,
                              .stream = number,
                              .fds = {&fd, i % 7 == 0 ? size_t{1} : size_t{0}},
                              .chain = {&buffer, 1},
                              .id = i};
    ASSERT_EQ(writer.Write(message), WriteAnswer::kAccepted);
    const uint32_t on_its_way = i + 1 < kMessages ? 10 : 0;
    while (completions.size() + on_its_way < i + 1) {
      told->Wait();
      writer.TakeCompletions(completions);
    }
  }
  ::close(fd);
  for (uint32_t i = 0; i < kMessages; ++i) {
    EXPECT_TRUE(completions[i].ok);
    EXPECT_EQ(completions[i].message_id, i);  // CMP-2, of one stream
  }
  completed += static_cast<uint32_t>(completions.size());
}

TEST(SharedSenderTest, ThreadsShareAPort) {
  const size_t before = OpenDescriptors();
  {
    auto pair = SocketPair::Create(Newest(), kSizes);
    ASSERT_TRUE(pair.ok());
    const int small = 1;  // the kernel's smallest: the socket is full again and again
    ASSERT_EQ(::setsockopt(pair->send_end.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    Workspace sending;
    Loop loop(sending, std::move(pair->send_end));
    std::atomic<uint32_t> writing{kThreads};
    const Signal written;
    std::vector<uint32_t> completed(kThreads);
    std::vector<std::thread> threads;
    std::thread reader([&pair] {
      Workspace workspace;
      std::map<uint32_t, uint32_t> next;  // by stream: the number of its next message
      uint32_t count = 0;
      auto receiver = Receiver::Adopt(
          workspace, std::move(pair->receive_end), {.profile = &Newest(), .sizes = kSizes},
          [&next, &count](Message& message) {
            const uint32_t i = next[message.header.stream]++;
            const std::string expected = std::to_string(message.header.stream) + ":" +
                                         std::to_string(i) + ":" +
                                         Pattern(i % 5 == 0 ? 1500 : 10, i);
            EXPECT_EQ(TextOf(message.payload), expected);
            EXPECT_EQ(message.fds.size(), i % 7 == 0 ? 1U : 0U);
            ++count;
          });
      ASSERT_TRUE(receiver.ok());
      while (count < kThreads * kMessages) {
        pollfd polled = {(*receiver)->fd(), POLLIN, 0};
        ::poll(&polled, 1, -1);
        (*receiver)->Turn();
      }
      EXPECT_EQ((*receiver)->refusals(), 0U);
    });
    for (uint32_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        WriteAll(loop.sender, i + 1, completed[i]);
        if (--writing == 0) written.Tell();
      });
    }
    loop.RunUntilIdle(written);
    for (std::thread& thread : threads) thread.join();
    reader.join();
    for (const uint32_t count : completed) EXPECT_EQ(count, kMessages);
    EXPECT_GT(loop.wakes.load(), 0U);  // or nobody ever waited
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// A kernel that lets others act in the middle of a send.
class BusyKernel : public RealKernel {
 public:
  ssize_t SendMessage(int fd, const msghdr* message, int flags) override {
    return Act() ? RealKernel::SendMessage(fd, message, flags) : -1;
  }
  int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) override {
    return Act() ? RealKernel::SendMessages(fd, messages, count, flags) : -1;
  }
  int Duplicate(int fd) override {
    if (duplicate_error == 0) return RealKernel::Duplicate(fd);
    errno = duplicate_error;
    return -1;
  }

  std::function<int()> during_send;  // once; what the send then fails with, 0: nothing
  int duplicate_error = 0;

 private:
  bool Act() {
    const auto act = std::exchange(during_send, nullptr);
    const int error = act ? act() : 0;
    if (error != 0) errno = error;
    return error == 0;
  }
};

void Drain(Receiver& receiver) {
  while (receiver.Turn() == Next::kCallAgain) {
  }
}

// SND-13
TEST(SharedSenderTest, TheLoopIsWokenOnce) {
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace;
  Loop loop(workspace, std::move(pair->send_end));
  SharedSender::Writer writer(loop.sender, workspace);
  const std::string text = Pattern(400, 1);
  const Buffer buffer = TextBuffer(text);
  const auto write = [&] { writer.Write({.type = kData, .chain = {&buffer, 1}}); };
  while (!loop.sender->wants_writable()) write();
  for (int i = 0; i < 10; ++i) write();
  EXPECT_EQ(loop.wakes.load(), 1U);
  loop.sender->Attend();
  EXPECT_EQ(loop.wakes.load(), 1U);
  EXPECT_TRUE(loop.sender->wants_writable());
  loop.sender->Close();
  std::vector<Completion> completions;
  writer.TakeCompletions(completions);
  EXPECT_FALSE(completions.back().ok);
  EXPECT_EQ(writer.Write({.type = kData}), WriteAnswer::kClosed);
}

// SND-7: a write flushes its share of what others queued; the loop is told of the rest,
// since the socket has room and no event will come.
TEST(SharedSenderTest, TheLoopIsToldOfWhatAWriteLeaves) {
  constexpr uint32_t kQueued = 16 * SharedSender::kRoundsPerWrite + 40;
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  const int bytes = 1 << 20;  // the kernel gives less
  ASSERT_EQ(::setsockopt(pair->send_end.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
  Workspace workspace;
  Loop loop(workspace, std::move(pair->send_end));
  SharedSender::Writer writer(loop.sender, workspace);
  for (uint32_t i = 0; i < kQueued; ++i) {
    ASSERT_EQ(writer.Write({.type = kData, .batch = true, .id = i}), WriteAnswer::kAccepted);
  }
  EXPECT_EQ(loop.wakes.load(), 0U);
  ASSERT_EQ(writer.Write({.type = kData, .id = kQueued}), WriteAnswer::kAccepted);
  ASSERT_FALSE(loop.sender->wants_writable());  // or the socket is too small for this test
  EXPECT_EQ(loop.sender->queued_messages(), 41U);
  EXPECT_EQ(loop.wakes.load(), 1U);
  loop.sender->Attend();
  EXPECT_EQ(loop.sender->queued_messages(), 0U);
  EXPECT_EQ(loop.wakes.load(), 1U);
}

// CMP-6: a writer is told when its mailbox is no longer empty, and only that writer.
TEST(SharedSenderTest, AWriterIsToldOfItsCompletions) {
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace;
  Loop loop(workspace, std::move(pair->send_end));
  uint32_t told_first = 0;
  uint32_t told_second = 0;
  SharedSender::Writer first(loop.sender, workspace, [&told_first] { ++told_first; });
  SharedSender::Writer second(loop.sender, workspace, [&told_second] { ++told_second; });
  ASSERT_EQ(first.Write({.type = kData, .id = 1}), WriteAnswer::kAccepted);
  EXPECT_EQ(told_first, 1U);
  ASSERT_EQ(first.Write({.type = kData, .id = 2}), WriteAnswer::kAccepted);
  EXPECT_EQ(told_first, 1U);  // what lies there was told
  std::vector<Completion> completions;
  second.TakeCompletions(completions);
  EXPECT_TRUE(completions.empty());
  first.TakeCompletions(completions);
  ASSERT_EQ(completions.size(), 2U);
  EXPECT_EQ(completions[1].message_id, 2U);
  ASSERT_EQ(first.Write({.type = kData, .id = 3}), WriteAnswer::kAccepted);
  EXPECT_EQ(told_first, 2U);
  EXPECT_EQ(told_second, 0U);
}

// SND-2, SND-13: a writer's thread that the kernel puts off wakes the loop, which asks
// again when the delay is over.
TEST(SharedSenderTest, TheLoopIsWokenForARetry) {
  testing::FaultKernel kernel({.call = testing::Call::kSend, .number = 0, .error = ENOBUFS});
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace(kernel);
  Loop loop(workspace, std::move(pair->send_end));
  SharedSender::Writer writer(loop.sender, workspace);
  ASSERT_EQ(writer.Write({.type = kData}), WriteAnswer::kAccepted);
  EXPECT_EQ(loop.wakes.load(), 1U);
  EXPECT_EQ(loop.sender->retry_ms(), std::optional(kRetryFirstMs));
  ASSERT_EQ(writer.Write({.type = kData}), WriteAnswer::kAccepted);
  EXPECT_EQ(loop.wakes.load(), 1U);
  loop.sender->Attend();  // for the wake: the delay is not over
  EXPECT_EQ(loop.sender->retry_ms(), std::optional(kRetryFirstMs));
  EXPECT_EQ(loop.sender->queued_messages(), 2U);
  loop.sender->OnRetry();
  EXPECT_EQ(loop.sender->retry_ms(), std::nullopt);
  EXPECT_EQ(loop.sender->queued_messages(), 0U);
}

// SND-13: attended, the loop is woken for what comes next.
TEST(SharedSenderTest, TheLoopIsWokenAgainOnceItAttended) {
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace;
  Loop loop(workspace, std::move(pair->send_end));
  auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end),
                                  {.profile = &Newest(), .sizes = kSizes}, [](Message&) {});
  ASSERT_TRUE(receiver.ok());
  SharedSender::Writer writer(loop.sender, workspace);
  for (uint32_t round = 1; round <= 2; ++round) {
    while (!loop.sender->wants_writable()) writer.Write({.type = kData});
    EXPECT_EQ(loop.wakes.load(), round);
    while (loop.sender->wants_writable()) {
      while ((*receiver)->Turn() == Next::kCallAgain) {
      }
      loop.sender->Attend();
    }
    EXPECT_EQ(loop.wakes.load(), round);
  }
}

// CMP-5, CMP-6: what closing fails is told to its writer; an announcement leaves at once.
TEST(SharedSenderTest, ClosingTellsTheWriters) {
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace;
  Loop loop(workspace, std::move(pair->send_end));
  uint32_t told = 0;
  SharedSender::Writer writer(loop.sender, workspace, [&told] { ++told; });
  EXPECT_EQ(writer.Announce(testing::NewSegment(0)), WriteAnswer::kAccepted);
  EXPECT_EQ(loop.sender->queued_messages(), 0U);
  EXPECT_EQ(told, 1U);
  std::vector<Completion> completions;
  writer.TakeCompletions(completions);
  EXPECT_EQ(writer.Write({.type = kData, .batch = true, .id = 1}), WriteAnswer::kAccepted);
  EXPECT_EQ(told, 1U);
  loop.sender->Close();
  EXPECT_EQ(told, 2U);
}

// SND-7: the event that ends a writer's EAGAIN comes before its thread has the lock again.
// An edge-triggered loop is told of it once.
TEST(SharedSenderTest, AnEventDuringAFlushIsNotLost) {
  BusyKernel kernel;
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace(kernel);
  Loop loop(workspace, std::move(pair->send_end));
  auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end),
                                  {.profile = &Newest(), .sizes = kSizes}, [](Message&) {});
  ASSERT_TRUE(receiver.ok());
  SharedSender::Writer writer(loop.sender, workspace);
  while (!loop.sender->wants_writable()) writer.Write({.type = kData});
  Drain(**receiver);
  loop.sender->Attend();
  ASSERT_EQ(loop.sender->queued_messages(), 0U);
  ASSERT_TRUE(loop.sender->wants_writable());  // until an event finds nothing to send
  const uint32_t wakes = loop.wakes.load();
  kernel.during_send = [&] {
    Drain(**receiver);
    loop.sender->Attend();
    return EAGAIN;
  };
  EXPECT_EQ(writer.Write({.type = kData}), WriteAnswer::kAccepted);
  EXPECT_EQ(loop.sender->queued_messages(), 0U);
  EXPECT_EQ(loop.wakes.load(), wakes);
}

// SND-8: a write that gets no descriptor, while another thread is at the kernel.
TEST(SharedSenderTest, AWithdrawnWriteDisturbsNoFlush) {
  BusyKernel kernel;
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace(kernel);
  Workspace other(kernel);
  Loop loop(workspace, std::move(pair->send_end));
  SharedSender::Writer first(loop.sender, workspace);
  SharedSender::Writer second(loop.sender, other);
  const int fd = loop.sender->fd();
  kernel.during_send = [&] {
    kernel.duplicate_error = EMFILE;
    EXPECT_EQ(second.Write({.type = kData, .fds = {&fd, 1}}), WriteAnswer::kNoDescriptor);
    return 0;
  };
  EXPECT_EQ(first.Write({.type = kData, .id = 1}), WriteAnswer::kAccepted);
  std::vector<Completion> completions;
  first.TakeCompletions(completions);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_TRUE(completions[0].ok);
  EXPECT_EQ(loop.sender->queued_messages(), 0U);
}

// CMP-6, SHM-10: that an announcement failed is told to its writer.
TEST(SharedSenderTest, AFailedAnnouncementIsTold) {
  testing::FaultKernel kernel({.call = testing::Call::kSend, .number = 0, .error = EBADF});
  auto pair = SocketPair::Create(Newest(), kSizes);
  ASSERT_TRUE(pair.ok());
  Workspace workspace(kernel);
  Loop loop(workspace, std::move(pair->send_end));
  SharedSender::Writer writer(loop.sender, workspace);
  EXPECT_EQ(writer.Announce(testing::NewSegment(0)), WriteAnswer::kAccepted);
  std::vector<Completion> completions;
  writer.TakeCompletions(completions);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_FALSE(completions[0].ok);
  EXPECT_EQ(completions[0].message_id, 0U);
}

// SND-4: the loop sees the other end gone, perhaps while a writer is at the kernel.
TEST(SharedSenderTest, AHangUpFailsWhatIsQueued) {
  for (const bool during_send : {false, true}) {
    BusyKernel kernel;
    auto pair = SocketPair::Create(Newest(), kSizes);
    ASSERT_TRUE(pair.ok());
    Workspace workspace(kernel);
    Loop loop(workspace, std::move(pair->send_end));
    SharedSender::Writer writer(loop.sender, workspace);
    if (during_send) {
      kernel.during_send = [&loop] {
        loop.sender->OnHangUp();
        return EAGAIN;
      };
    }
    EXPECT_EQ(writer.Write({.type = kData, .batch = !during_send}), WriteAnswer::kAccepted);
    if (!during_send) loop.sender->OnHangUp();
    EXPECT_EQ(loop.sender->queued_messages(), 0U);
    std::vector<Completion> completions;
    writer.TakeCompletions(completions);
    ASSERT_EQ(completions.size(), 1U);
    EXPECT_FALSE(completions[0].ok);
    EXPECT_EQ(writer.Write({.type = kData}), WriteAnswer::kFailed);
  }
}

// PRT-2, CMP-5: whoever closes while another thread is at the kernel leaves it to that thread.
// The socket is there until its call is back; nothing is sent behind that.
TEST(SharedSenderTest, WhoeverFlushesCloses) {
  constexpr uint64_t kMessagesQueued = kPlanDatagramsMax + 4;
  for (const int error : {0, EAGAIN}) {
    BusyKernel kernel;
    auto pair = SocketPair::Create(Newest(), kSizes);
    ASSERT_TRUE(pair.ok());
    Workspace workspace(kernel);
    Loop loop(workspace, std::move(pair->send_end));
    uint64_t delivered = 0;
    auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end),
                                    {.profile = &Newest(), .sizes = kSizes},
                                    [&delivered](Message&) { ++delivered; });
    ASSERT_TRUE(receiver.ok());
    uint32_t told = 0;
    SharedSender::Writer writer(loop.sender, workspace, [&told] { ++told; });
    for (uint64_t i = 0; i < kMessagesQueued; ++i) {
      ASSERT_EQ(writer.Write({.type = kData, .batch = true, .id = i}), WriteAnswer::kAccepted);
    }
    const int fd = loop.sender->fd();
    WriteAnswer late = WriteAnswer::kClosed;
    kernel.during_send = [&] {
      loop.sender->Close();
      late = writer.Write({.type = kData, .batch = true, .id = 99});
      EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
      return error;
    };
    writer.Flush();
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
    EXPECT_EQ(loop.sender->queued_messages(), 0U);
    EXPECT_EQ(writer.Write({.type = kData}), WriteAnswer::kClosed);
    EXPECT_FALSE(loop.sender->wants_writable());
    EXPECT_EQ(loop.wakes.load(), 0U);
    const uint64_t sent = error == 0 ? kPlanDatagramsMax : 0;
    std::vector<Completion> completions;
    writer.TakeCompletions(completions);
    ASSERT_EQ(completions.size(), kMessagesQueued + (late == WriteAnswer::kAccepted));
    for (uint64_t i = 0; i < completions.size(); ++i) EXPECT_EQ(completions[i].ok, i < sent);
    EXPECT_EQ(told, 1U);
    Drain(**receiver);
    EXPECT_EQ(delivered, sent);
    EXPECT_EQ((*receiver)->Turn(), Next::kEnd);
  }
}

}  // namespace
}  // namespace portproof
