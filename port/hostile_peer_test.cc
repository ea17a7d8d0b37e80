// Another process sends whatever a receiver may meet. This one stays alive, its memory and
// descriptors within the stated bounds, and honest messages arrive between and after.
// RCV-2, RCV-5, FRG-8, FDS-5.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "port/testing.h"

namespace {
int64_t live_bytes = 0;  // on the heap, as the allocator counts them

void* Allocate(size_t bytes) {
  void* const memory = std::malloc(bytes);
  if (memory != nullptr) live_bytes += static_cast<int64_t>(::malloc_usable_size(memory));
  return memory;
}
void Free(void* memory) {
  if (memory != nullptr) live_bytes -= static_cast<int64_t>(::malloc_usable_size(memory));
  std::free(memory);
}
}  // namespace

void* operator new(size_t bytes) {
  if (void* const memory = Allocate(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t& /*tag*/) noexcept { return Allocate(bytes); }
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t /*bytes*/) noexcept { Free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { Free(memory); }

namespace portproof {
namespace {

using testing::LocalPort;
using testing::Newest;
using testing::OpenDescriptors;
using testing::Pattern;
using testing::TypeNumber;

constexpr PortSizes kSizes = {.max_size = 2048, .max_share = 8192};
constexpr ReassemblyLimits kLimits = {
    .open_per_sender = 40, .open = 64, .assembly_bytes = 20'000, .bytes = 100'000};
constexpr uint8_t kData = 27;

// The raw program: it waits for room, and says whether the kernel took the datagram.
class Raw {
 public:
  explicit Raw(int socket) : socket_(socket), null_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

  void Send(const std::string& bytes, size_t fd_count = 0) {
    iovec vector = {const_cast<char*>(bytes.data()), bytes.size()};
    const std::vector<int> fds(fd_count, null_);
    std::vector<uint8_t> control(CMSG_SPACE(fd_count * sizeof(int)));
    msghdr message = {};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (fd_count != 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
      std::copy_n(fds.data(), fd_count, reinterpret_cast<int*>(CMSG_DATA(rights)));
    }
    while (::sendmsg(socket_, &message, MSG_NOSIGNAL) < 0) {
      if (errno != EAGAIN && errno != ETOOMANYREFS) ::_exit(1);
      pollfd polled = {socket_, POLLOUT, 0};
      ::poll(&polled, 1, 100);
    }
  }
  void Send(const Header& header, const std::string& payload, size_t fd_count = 0) {
    const auto bytes = EncodeHeader(header);
    Send(std::string(bytes.begin(), bytes.end()) + payload, fd_count);
  }

 private:
  int socket_;
  int null_;
};

// Runs the attack in a process of its own, with honest messages between: of five
// fragments, or fewer bytes where the attack may use up what all senders share (FRG-8).
void Attack(const std::function<void(Raw&)>& attack,
            const std::function<void(const LocalPort&)>& check = nullptr,
            size_t honest_bytes = 9000) {
  const size_t before = OpenDescriptors();
  {
    LocalPort port(Newest(), {.limits = kLimits}, {}, kSizes);
    const std::string honest = Pattern(honest_bytes, 1);
    ASSERT_EQ(port.Write(honest), WriteAnswer::kAccepted);
    port.Drain();
    port.receiver->Turn();
    port.delivered.clear();
    const pid_t child = ::fork();
    if (child == 0) {
      Raw raw(port.sender->fd());
      attack(raw);
      ::_exit(0);
    }
    size_t written = 0;
    size_t arrived = 0;
    int status = -1;
    int64_t most = 0;
    size_t most_fds = 0;
    const int64_t baseline = live_bytes;
    const auto turn = [&] {
      port.receiver->Turn();
      arrived += static_cast<size_t>(
          std::count_if(port.delivered.begin(), port.delivered.end(),
                        [&](const auto& message) { return message.text == honest; }));
      port.delivered = {};
      port.told = {};
      most = std::max(most, live_bytes - baseline);
      most_fds = std::max(most_fds, OpenDescriptors());
    };
    do {
      if (port.sender->queued_messages() == 0) {
        ASSERT_EQ(port.Write(honest, 7), WriteAnswer::kAccepted);
        ++written;
      } else {
        port.sender->OnWritable();
      }
      turn();
    } while (::waitpid(child, &status, WNOHANG) == 0);
    EXPECT_EQ(status, 0);
    while (port.sender->queued_messages() != 0) {
      port.sender->OnWritable();
      turn();
    }
    for (int i = 0; i < 100; ++i) turn();
    EXPECT_EQ(arrived, written);
    EXPECT_LE(static_cast<uint64_t>(most),
              ReceiverMemoryBytesMax(kLimits) + port.workspace.pool.unused() * kSizes.max_size +
                  (64 << 10));  // the loop's and the test's own
    EXPECT_LE(most_fds, before + 8 + 2 * size_t{kLimits.open});
    if (check) check(port);
    port.receiver->SenderDied(child);
    EXPECT_EQ(port.receiver->open_assemblies(), 0U);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

Header Of(uint32_t stream, bool nf, bool mf, uint8_t type = kData) {
  return {.stream = stream, .pid = ::getpid(), .type = type, .nf = nf, .mf = mf};
}

TEST(HostilePeerTest, DatagramsThatAreNone) {
  Attack(
      [](Raw& raw) {
        for (int i = 0; i < 300; ++i) {
          raw.Send("", 0);
          raw.Send("", 2);
          raw.Send("short", 1);
          raw.Send(std::string(15, '\xff'), 2);
        }
      },
      [](const LocalPort& port) { EXPECT_EQ(port.receiver->refusals(), 1200U); });
}

TEST(HostilePeerTest, TooManyDescriptors) {
  Attack(
      [](Raw& raw) {
        for (uint32_t i = 0; i < 30; ++i) {
          raw.Send(Of(i, false, false), "three", 3);
          raw.Send(Of(i, false, true), "as many as go", 253);
          raw.Send("", 253);
          raw.Send(Of(i, true, false), "on a later one", 1);
        }
      },
      [](const LocalPort& port) {
        EXPECT_EQ(port.receiver->refusals(Rule::kFds2), 90U);
        EXPECT_EQ(port.receiver->refusals(Rule::kFds1), 30U);
      });
}

TEST(HostilePeerTest, TooLong) {
  Attack(
      [](Raw& raw) {
        for (uint32_t i = 0; i < 100; ++i) {
          raw.Send(Of(i, false, true), Pattern(2048, i), 1);  // MAX + 16: taken
          raw.Send(Of(i, true, true), Pattern(2049, i));      // discards
          raw.Send(Of(i, true, false), "an orphan now");
        }
      },
      [](const LocalPort& port) {
        EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), 100U);
        EXPECT_EQ(port.receiver->refusals(Rule::kFrg2), 100U);
        EXPECT_EQ(port.receiver->open_assemblies(), 0U);
      });
}

TEST(HostilePeerTest, TypesNobodyKnows) {
  Attack(
      [](Raw& raw) {
        for (uint32_t i = 0; i < 1000; ++i) {
          raw.Send(Of(i, false, i % 2 != 0, static_cast<uint8_t>(34 + i % 222)), "?", i % 3);
        }
      },
      [](const LocalPort& port) { EXPECT_EQ(port.receiver->refusals(Rule::kHdr4), 1000U); });
}

TEST(HostilePeerTest, OrphansAndDuplicates) {
  Attack(
      [](Raw& raw) {
        for (uint32_t i = 0; i < 1000; ++i) {
          raw.Send(Of(1000 + i, true, i % 2 != 0), Pattern(100, i));
          raw.Send(Of(5, false, true), "again and again", 1);
        }
      },
      [](const LocalPort& port) {
        EXPECT_EQ(port.receiver->refusals(Rule::kFrg2), 1000U);
        EXPECT_EQ(port.receiver->refusals(Rule::kFrg1), 999U);
        EXPECT_EQ(port.receiver->open_assemblies(), 1U);
      });
}

TEST(HostilePeerTest, UnfinishedStreams) {
  Attack(
      [](Raw& raw) {
        for (uint32_t i = 0; i < 100'000; ++i) raw.Send(Of(i, false, true), "begun", i % 3);
      },
      [](const LocalPort& port) {
        EXPECT_EQ(port.receiver->refusals(Rule::kFrg8), 100'000U - kLimits.open_per_sender);
      });
}

// FRG-8: capacity included, in the smallest and in the most wasteful pieces.
TEST(HostilePeerTest, AssembliesThatGrow) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{63}, size_t{65}, size_t{1030}, size_t{2032}}) {
    Attack(
        [bytes](Raw& raw) {
          for (uint32_t i = 0; i < 40; ++i) raw.Send(Of(i, false, true), Pattern(bytes, i), 2);
          for (uint32_t i = 0; i < 20'000; ++i) raw.Send(Of(i % 40, true, true), Pattern(bytes, i));
        },
        nullptr, 1500);
  }
}

TEST(HostilePeerTest, ReferencesAndAnnouncementsOfNothing) {
  Attack([](Raw& raw) {
    const uint8_t mmap = TypeNumber(Newest(), Type::kMmap);
    for (uint32_t i = 0; i < 2000; ++i) {
      Header shared = Of(i, i % 5 == 1, i % 3 == 1);
      shared.mmap = true;
      raw.Send(shared, Pattern(i % 50, i));
      raw.Send(shared, Pattern(12 * size_t{1 + i % 100}, i));
      const auto reference = EncodeReference({i % 2000, i % 700, i * 40});
      raw.Send(shared, std::string(reference.begin(), reference.end()), i % 3);
      raw.Send(Of(0, false, false, mmap), "", i % 4);
    }
  });
}

TEST(HostilePeerTest, Noise) {
  Attack([](Raw& raw) {
    for (uint32_t i = 0; i < 20'000; ++i) raw.Send(Pattern(i % 90, i), i % 7 == 0 ? i % 5 : 0);
  });
}

// An idle port: less than 4 KiB of its own, also after it was busy.
TEST(HostilePeerTest, AnIdlePortIsSmall) {
  Workspace workspace;
  const std::string text = Pattern(100'000, 1);
  const int64_t used = live_bytes;
  auto pair = SocketPair::Create(Newest());
  ASSERT_TRUE(pair.ok());
  auto sender = Sender::Adopt(workspace, std::move(pair->send_end), {.profile = &Newest()});
  auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end), {.profile = &Newest()},
                                  [](Message& /*message*/) {});
  ASSERT_TRUE(sender.ok() && receiver.ok());
  EXPECT_LT(live_bytes - used, 4096);
  const Buffer buffer = testing::TextBuffer(text);
  std::vector<Completion> completions;
  for (uint32_t i = 0; i < 200; ++i) {
    EXPECT_EQ((*sender)->Write({.type = kData, .stream = i, .chain = {&buffer, 1}}),
              WriteAnswer::kAccepted);
  }
  while ((*sender)->queued_messages() != 0) {
    (*receiver)->Turn();
    (*sender)->OnWritable();
    completions.clear();
    (*sender)->TakeCompletions(completions);
  }
  while ((*receiver)->Turn() == Next::kCallAgain) {
  }
  (*sender)->OnWritable();
  EXPECT_EQ((*receiver)->open_assemblies(), 0U);
  completions = std::vector<Completion>();
  workspace.actions = Actions();
  workspace.pool.ReleaseUnused();
  workspace.receive_batch.ReleaseBuffers();
  workspace.pool.ReleaseUnused();
  EXPECT_LT(live_bytes - used, 4096);
}

}  // namespace
}  // namespace portproof
