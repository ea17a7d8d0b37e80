// Another process sends whatever a receiver may meet. This one stays alive, its memory and
// descriptors within the stated bounds, and honest messages arrive before, between and
// after: with descriptors, in fragments, in shared memory. RCV-2, RCV-5, FRG-8, FDS-5.
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
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "port/shared_sender.h"
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
using testing::ProfileOf;
using testing::SendBytes;
using testing::TypeNumber;

constexpr PortSizes kSizes = {.max_size = 2048, .max_share = 8192};
constexpr ReassemblyLimits kLimits = {
    .open_per_sender = 40, .open = 128, .assembly_bytes = 20'000, .bytes = 200'000};
constexpr size_t kRetained = 16;  // unused buffers of the loop

// The raw program: it waits for room, and says whether the kernel took the datagram. Now
// and then it waits for honest messages.
class Raw {
 public:
  Raw(int socket, int honest, uint8_t data)
      : socket_(socket),
        honest_(honest),
        data_(data),
        null_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

  void Send(const std::string& bytes, std::span<const int> fds) {
    while (SendBytes(socket_, bytes, fds, 0) < 0) {
      if (errno != EAGAIN && errno != ETOOMANYREFS) ::_exit(1);
      pollfd polled = {socket_, POLLOUT, 0};
      ::poll(&polled, 1, 100);
    }
    if (++sent_ == next_pause_) Pause();
  }
  void Send(const std::string& bytes, size_t fd_count = 0) {
    Send(bytes, std::vector<int>(fd_count, null_));
  }
  void Send(const Header& header, const std::string& payload, size_t fd_count = 0) {
    Send(header, payload, std::vector<int>(fd_count, null_));
  }
  void Send(const Header& header, const std::string& payload, std::span<const int> fds) {
    const auto bytes = EncodeHeader(header);
    Send(std::string(bytes.begin(), bytes.end()) + payload, fds);
  }

  Header Of(uint32_t stream, bool nf, bool mf) const {
    return {.stream = stream, .pid = ::getpid(), .type = data_, .nf = nf, .mf = mf};
  }
  // Another process, which does it too.
  void Fork(const std::function<void(Raw&)>& attack) {
    const pid_t child = ::fork();
    if (child == 0) {
      next_pause_ = 0;  // one of them is enough
      attack(*this);
      ::_exit(0);
    }
    int status = -1;
    if (::waitpid(child, &status, 0) != child || status != 0) ::_exit(1);
  }

 private:
  void Pause() {
    next_pause_ *= 10;
    char byte = 0;
    if (::write(honest_, &byte, 1) != 1 || ::read(honest_, &byte, 1) != 1) ::_exit(1);
  }

  int socket_;
  int honest_;
  uint8_t data_;
  int null_;
  uint64_t sent_ = 0;
  uint64_t next_pause_ = 10;
};

struct Assault {
  std::function<void(Raw&)> attack;
  int64_t bytes_max = 0;  // of memory, besides honest messages
  size_t fds_max = 0;     // at the end of a turn
  std::function<void(const LocalPort&, uint64_t delivered)> check = nullptr;
  // Fewer bytes than MAX where the attack may use up what all senders share (FRG-8).
  size_t honest_bytes = 9000;
  const Profile* profile = &Newest();
  ReceiverOptions receiving = {};
  int64_t bytes_left = 4096;  // when the receiver is gone: in the loop's arrays
};

// Both ends of the port, and who writes honestly to it.
class Defence {
 public:
  explicit Defence(const Assault& assault)
      : port_(*assault.profile, WithLimits(assault.receiving), {}, kSizes, Kernel::Real(),
              kRetained),
        assault_(assault),
        plain_(Pattern(assault.honest_bytes, 1)),
        shared_(Pattern(20'000, 2)),
        null_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {
    auto made = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                                assault.profile->segment_layout);
    EXPECT_TRUE(made.ok());
    segment_ = std::make_shared<Segment>(*std::move(made));
    port_.BeginBatches();  // the loop has all its buffers
    EXPECT_EQ(port_.sender->Announce(segment_), WriteAnswer::kAccepted);
    WriteHonestly();
    TurnUntilSent();
    fds_before_ = OpenDescriptors();
    bytes_before_ = OwnBytes();
    fds_most_ = 0;
    bytes_most_ = 0;
  }

  // Runs the attack in a process of its own.
  void Face() {
    int pauses[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pauses), 0);
    fds_before_ += 1;
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(pauses[0]);
      Raw raw(port_.sender->fd(), pauses[1], port_.data_type);
      assault_.attack(raw);
      ::_exit(0);
    }
    ::close(pauses[1]);
    WriteHonestly();
    size_t between = 0;
    int status = -1;
    do {
      port_.sender->OnWritable();
      Turn();
      char byte = 0;
      if (::recv(pauses[0], &byte, 1, MSG_DONTWAIT) != 1) continue;
      TurnUntilSent();
      WriteHonestly();
      ++between;
      EXPECT_EQ(::send(pauses[0], &byte, 1, 0), 1);
    } while (::waitpid(child, &status, WNOHANG) == 0);
    EXPECT_EQ(status, 0);
    EXPECT_GE(between, 1U);
    for (int i = 0; i < 3; ++i) {
      TurnUntilSent();
      WriteHonestly();
    }
    TurnUntilSent();
    ::close(pauses[0]);
    Judge(child);
  }

 private:
  static ReceiverOptions WithLimits(ReceiverOptions receiving) {
    receiving.limits = kLimits;
    return receiving;
  }

  // What the process has in use; the loop's unused buffers are not the receiver's.
  int64_t OwnBytes() const {
    const size_t unused = port_.workspace.pool.unused();
    return live_bytes -
           static_cast<int64_t>(unused * (kSizes.max_size + kHeaderBytes + sizeof(Block)));
  }

  // A message with a descriptor, which has fragments or not, and one in shared memory.
  void WriteHonestly() {
    const int fd = null_.get();
    EXPECT_EQ(port_.Write(plain_, 7, {&fd, 1}), WriteAnswer::kAccepted);
    const auto range = segment_->Allocate(static_cast<uint32_t>(shared_.size()));
    ASSERT_TRUE(range.has_value());
    std::copy(shared_.begin(), shared_.end(), segment_->Memory(*range).begin());
    const Buffer buffer =
        port_.sender->BufferIn(*segment_, *range, static_cast<uint32_t>(shared_.size()), 1);
    EXPECT_EQ(port_.sender->Write({.type = port_.data_type, .stream = 8, .chain = {&buffer, 1}}),
              WriteAnswer::kAccepted);
    ranges_.push_back(*range);
    ++written_;
  }

  void TurnUntilSent() {
    while (port_.sender->queued_messages() != 0) {
      port_.sender->OnWritable();
      Turn();
    }
    while (Turn() == Next::kCallAgain) {
    }
    EXPECT_EQ(plain_arrived_, written_);
    EXPECT_EQ(shared_arrived_, written_);
    std::vector<Completion> completions;
    port_.sender->TakeCompletions(completions);
    for (const ChunkRange& range : ranges_) segment_->Release(range);
    ranges_ = {};
    EXPECT_EQ(segment_->FreeCount(), 640U);
  }

  Next Turn() {
    const Next next = port_.receiver->Turn();
    for (const auto& message : port_.delivered) {
      const bool is_plain = message.text == plain_ && message.fds == 1;
      const bool is_shared = message.text == shared_;
      plain_arrived_ += is_plain;
      shared_arrived_ += is_shared;
      delivered_ += !is_plain && !is_shared;
    }
    port_.delivered = {};
    port_.told = {};
    bytes_most_ = std::max(bytes_most_, OwnBytes() - bytes_before_);
    const size_t fds = OpenDescriptors();
    fds_most_ = std::max(fds_most_, fds - std::min(fds, fds_before_));
    return next;
  }

  void Judge(pid_t child) {
    std::printf("at most %lld bytes and %zu descriptors\n", static_cast<long long>(bytes_most_),
                fds_most_);
    EXPECT_LE(bytes_most_, static_cast<int64_t>(ReceiveBytesMax(kLimits)));
    // An honest message under way: a buffer for each datagram.
    const auto honest = static_cast<int64_t>(assault_.honest_bytes) + 4096;
    EXPECT_LE(bytes_most_, assault_.bytes_max + honest);
    EXPECT_LE(fds_most_, assault_.fds_max + 1);  // and its descriptor
    if (assault_.check) assault_.check(port_, delivered_);
    port_.receiver->SenderDied(child);
    if (assault_.profile->credentials) {
      EXPECT_LE(port_.receiver->open_assemblies(), kLimits.open - kLimits.open_per_sender);
    }
    port_.receiver->Close();
    EXPECT_EQ(port_.receiver->open_assemblies(), 0U);
    EXPECT_EQ(port_.receiver->held_messages(), 0U);
    port_.receiver.reset();
    EXPECT_LE(OwnBytes() - bytes_before_, assault_.bytes_left);
  }

  LocalPort port_;
  const Assault& assault_;
  const std::string plain_;
  const std::string shared_;
  const OwnedFd null_;
  std::shared_ptr<Segment> segment_;
  std::vector<ChunkRange> ranges_;
  size_t written_ = 0;
  size_t plain_arrived_ = 0;
  size_t shared_arrived_ = 0;
  uint64_t delivered_ = 0;  // of the attacker's
  int64_t bytes_before_ = 0;
  int64_t bytes_most_ = 0;
  size_t fds_before_ = 0;
  size_t fds_most_ = 0;
};

void Withstand(const Assault& assault) {
  const size_t before = OpenDescriptors();
  Defence(assault).Face();
  EXPECT_EQ(OpenDescriptors(), before);
}

// ------------------------------------------------------ datagrams by themselves

TEST(HostilePeerTest, DatagramsThatAreNone) {
  Withstand({.attack =
                 [](Raw& raw) {
                   for (int i = 0; i < 300; ++i) {
                     raw.Send("", 0);
                     raw.Send("", 2);
                     raw.Send("short", 1);
                     raw.Send(std::string(15, '\xff'), 2);
                   }
                 },
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(port.receiver->refusals(Rule::kHdr1), 600U);
                   EXPECT_EQ(port.receiver->refusals(Rule::kHdr8), 600U);
                   EXPECT_EQ(port.receiver->refusals(), 1200U);
                   EXPECT_EQ(delivered, 0U);
                 }});
}

TEST(HostilePeerTest, TooManyDescriptors) {
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < 30; ++i) {
                     raw.Send(raw.Of(i, false, false), "three", 3);
                     raw.Send(raw.Of(i, false, true), "as many as go", 253);
                     raw.Send("", 253);
                     raw.Send(raw.Of(i, true, false), "on a later one", 1);
                   }
                 },
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(port.receiver->refusals(Rule::kFds2), 90U);
                   EXPECT_EQ(port.receiver->refusals(Rule::kFds1), 30U);
                   EXPECT_EQ(delivered, 0U);
                 }});
}

TEST(HostilePeerTest, TooLong) {
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < 100; ++i) {
                     raw.Send(raw.Of(i, false, true), Pattern(2048, i), 1);  // MAX + 16: taken
                     raw.Send(raw.Of(i, true, true), Pattern(2049, i));      // discards
                     raw.Send(raw.Of(i, true, false), "an orphan now");
                   }
                 },
             .bytes_max = 2048,
             .fds_max = 1,
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), 100U);
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg2), 100U);
                   EXPECT_EQ(port.receiver->open_assemblies(), 0U);
                   EXPECT_EQ(delivered, 0U);
                 }});
}

// HDR-4: numbers beyond the table, and one that has no handler here.
TEST(HostilePeerTest, TypesNobodyTakes) {
  constexpr uint8_t kUnhandled = 28;
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < 1000; ++i) {
                     Header header = raw.Of(i, false, i % 2 != 0);
                     header.type = static_cast<uint8_t>(34 + i % 222);
                     raw.Send(header, "?", i % 3);
                     header.type = kUnhandled;
                     raw.Send(header, "?", i % 3);
                   }
                 },
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(port.receiver->refusals(Rule::kHdr4), 2000U);
                   EXPECT_EQ(port.receiver->refusals(), 2000U);
                   EXPECT_EQ(port.receiver->open_assemblies(), 0U);
                   EXPECT_EQ(delivered, 0U);
                 },
             .receiving = {.handled = HandledTypes::All().Without(kUnhandled)}});
}

// What section 5 says of a datagram by itself, of 20,000.
TEST(HostilePeerTest, Noise) {
  const auto bytes_of = [](uint32_t i) { return Pattern(i % 90, i); };
  const auto fds_of = [](uint32_t i) { return i % 7 == 0 ? i % 5 : 0; };
  Withstand({.attack =
                 [&](Raw& raw) {
                   for (uint32_t i = 0; i < 20'000; ++i) raw.Send(bytes_of(i), fds_of(i));
                 },
             .bytes_max = 4096,
             .fds_max = size_t{2} * kLimits.open_per_sender,
             .check =
                 [&](const LocalPort& port, uint64_t delivered) {
                   const Intake intake = {&Newest(), kSizes.max_size};
                   std::array<uint64_t, kRuleCount> refused = {};
                   uint64_t admitted = 0;
                   for (uint32_t i = 0; i < 20'000; ++i) {
                     const std::string bytes = bytes_of(i);
                     const auto decoded = DecodeHeader(testing::BytesOf(bytes));
                     const uint32_t fds = fds_of(i);
                     const auto rule = FirstFailure(
                         {.bytes = bytes.size(), .rights_messages = fds != 0 ? 1U : 0U, .fds = fds},
                         decoded ? &decoded->header : nullptr, intake);
                     ++(rule ? refused[static_cast<size_t>(*rule)] : admitted);
                   }
                   for (const Rule rule : {Rule::kFds1, Rule::kFds2, Rule::kHdr1, Rule::kHdr4}) {
                     EXPECT_GT(refused[static_cast<size_t>(rule)], 0U);
                     EXPECT_EQ(port.receiver->refusals(rule), refused[static_cast<size_t>(rule)]);
                   }
                   EXPECT_LE(delivered, admitted);
                 }});
}

// ------------------------------------------------------------------ assemblies

TEST(HostilePeerTest, OrphansAndDuplicates) {
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < 1000; ++i) {
                     raw.Send(raw.Of(1000 + i, true, i % 2 != 0), Pattern(100, i));
                     raw.Send(raw.Of(5, false, true), "again and again", 1);
                   }
                 },
             .bytes_max = 1024,
             .fds_max = 1,
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg2), 1000U);
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg1), 999U);
                   EXPECT_EQ(port.receiver->open_assemblies(), 1U);
                   EXPECT_EQ(delivered, 0U);
                 }});
}

TEST(HostilePeerTest, UnfinishedStreams) {
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < 100'000; ++i) {
                     raw.Send(raw.Of(i, false, true), "begun", i % 3);
                   }
                 },
             .bytes_max = 10 << 10,
             .fds_max = kLimits.open_per_sender,
             .check =
                 [](const LocalPort& port, uint64_t) {
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg8),
                             100'000U - kLimits.open_per_sender);
                   EXPECT_EQ(port.receiver->refusals(), 100'000U - kLimits.open_per_sender);
                 }});
}

// FRG-8: three senders that take what they can leave room for an honest message.
TEST(HostilePeerTest, UnfinishedStreamsOfSeveral) {
  constexpr uint32_t kOfTwo = 2 * kLimits.open_per_sender;
  static constexpr uint32_t kOfThree = kOfTwo + (kLimits.open - kOfTwo) / 2;
  Withstand({.attack =
                 [](Raw& raw) {
                   const auto begin = [](Raw& one) {
                     for (uint32_t i = 0; i < 100; ++i)
                       one.Send(one.Of(i, false, true), "begun", 1);
                   };
                   begin(raw);
                   raw.Fork(begin);
                   raw.Fork(begin);
                 },
             .bytes_max = 16 << 10,
             .fds_max = kOfThree,
             .check =
                 [](const LocalPort& port, uint64_t) {
                   EXPECT_EQ(port.receiver->open_assemblies(), kOfThree);
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg8), 300U - kOfThree);
                 }});
}

// Without credentials a sender is who it says: many, and the honest one among them.
TEST(HostilePeerTest, ForgedSenders) {
  const int32_t honest = ::getpid();
  Withstand({.attack =
                 [honest](Raw& raw) {
                   for (int32_t i = 0; i < 5000; ++i) {
                     Header header = raw.Of(7, false, true);  // the honest stream
                     header.pid = i == 0 ? honest : 100'000 + i;
                     raw.Send(header, "begun", i % 3);
                   }
                 },
             .bytes_max = 30 << 10,  // of it two tables of 255 places
             .fds_max = kLimits.open,
             .check =
                 [](const LocalPort& port, uint64_t) {
                   constexpr uint32_t kOpen = kLimits.open - 1;  // half of one is none
                   EXPECT_EQ(port.receiver->open_assemblies(), kOpen);
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg8), 5000U - kOpen);
                   EXPECT_EQ(port.receiver->refusals(), 5000U - kOpen);
                 },
             .honest_bytes = 1500,
             .profile = &ProfileOf("unit-1.25.0")});
}

// FRG-8: capacity included, in the smallest and in the most wasteful pieces.
void GrowAssemblies(size_t bytes, int64_t bytes_max) {
  constexpr uint32_t kPieces = 20'000;
  SCOPED_TRACE(std::to_string(bytes) + " bytes each");
  Withstand({.attack =
                 [bytes](Raw& raw) {
                   for (uint32_t i = 0; i < 40; ++i) {
                     raw.Send(raw.Of(i, false, true), Pattern(bytes, i), 2);
                   }
                   for (uint32_t i = 0; i < kPieces; ++i) {
                     raw.Send(raw.Of(i % 40, true, true), Pattern(bytes, i));
                   }
                 },
             .bytes_max = bytes_max,
             .fds_max = size_t{2} * kLimits.open_per_sender,
             .check =
                 [bytes](const LocalPort& port, uint64_t delivered) {
                   const uint64_t all = bytes * (40 + kPieces);
                   EXPECT_LE(port.receiver->held_bytes(), kLimits.bytes / 2);
                   EXPECT_EQ(port.receiver->refusals(), port.receiver->refusals(Rule::kFrg8) +
                                                            port.receiver->refusals(Rule::kFrg2));
                   if (all <= kLimits.bytes / 2) {
                     EXPECT_EQ(port.receiver->refusals(), 0U);
                     EXPECT_EQ(port.receiver->held_bytes(), all);
                     EXPECT_EQ(port.receiver->open_assemblies(), 40U);
                   } else {
                     // Each that did not fit took its assembly along, and orphans what follows.
                     const uint64_t gone = 40 - port.receiver->open_assemblies();
                     EXPECT_GT(gone, 0U);
                     EXPECT_EQ(port.receiver->refusals(Rule::kFrg8), gone);
                   }
                   EXPECT_EQ(delivered, 0U);
                 }});
}
TEST(HostilePeerTest, AssembliesThatGrow) {
  GrowAssemblies(0, 6 << 10);
  GrowAssemblies(1, 40 << 10);
  GrowAssemblies(63, 280 << 10);
  GrowAssemblies(65, 370 << 10);
  GrowAssemblies(1030, 230 << 10);
  GrowAssemblies(2032, 120 << 10);
}

TEST(HostilePeerTest, ValidMessages) {
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < 20'000; ++i) {
                     raw.Send(raw.Of(i, false, i % 2 == 0), Pattern(i % 2000, i), i % 3);
                     if (i % 2 == 0) raw.Send(raw.Of(i, true, false), Pattern(i % 1000, i));
                   }
                 },
             .bytes_max = 4096,
             .fds_max = 2,
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(delivered, 20'000U);
                   EXPECT_EQ(port.receiver->refusals(), 0U);
                   EXPECT_EQ(port.receiver->open_assemblies(), 0U);
                 }});
}

// --------------------------------------------------------------- shared memory

// How many of 0 ... count - 1 it is true of.
uint64_t CountOf(uint32_t count, bool (*of)(uint32_t)) {
  uint64_t found = 0;
  for (uint32_t i = 0; i < count; ++i) found += of(i);
  return found;
}

TEST(HostilePeerTest, ReferencesAndAnnouncementsOfNothing) {
  constexpr uint32_t kRounds = 2000;
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < kRounds; ++i) {
                     Header shared = raw.Of(i, i % 5 == 1, i % 3 == 1);
                     shared.mmap = true;
                     raw.Send(shared, Pattern(i % 50, i));
                     raw.Send(shared, Pattern(12 * size_t{1 + i % 100}, i));
                     const auto reference = EncodeReference({i % 2000, i % 700, i * 40});
                     raw.Send(shared, std::string(reference.begin(), reference.end()), i % 3);
                     Header announcement = raw.Of(0, false, false);
                     announcement.type = TypeNumber(Newest(), Type::kMmap);
                     raw.Send(announcement, "", i % 4);
                   }
                 },
             .bytes_max = 16 << 10,
             .fds_max = size_t{2} * kLimits.open_per_sender,
             .check =
                 [](const LocalPort& port, uint64_t delivered) {
                   const auto& receiver = *port.receiver;
                   EXPECT_EQ(receiver.refusals(Rule::kShm1), CountOf(kRounds, [](uint32_t i) {
                               return i % 50 == 0 || i % 50 % 12 != 0;
                             }));
                   EXPECT_EQ(receiver.refusals(Rule::kFds1),
                             CountOf(kRounds, [](uint32_t i) { return i % 5 == 1 && i % 3 != 0; }));
                   EXPECT_EQ(receiver.refusals(Rule::kFds2),
                             CountOf(kRounds, [](uint32_t i) { return i % 4 == 3; }));
                   EXPECT_EQ(receiver.refusals(Rule::kShm8),
                             CountOf(kRounds, [](uint32_t i) { return i % 4 != 3; }));
                   EXPECT_LE(receiver.held_messages(), kLimits.open_per_sender);
                   EXPECT_EQ(delivered, 0U);
                 }});
}

// SHM-10: what waits for a segment counts with the assemblies.
TEST(HostilePeerTest, MessagesThatWaitForSegments) {
  constexpr uint32_t kHeld = 20'000;
  uint64_t asked = 0;
  Withstand({.attack =
                 [](Raw& raw) {
                   for (uint32_t i = 0; i < kHeld; ++i) {
                     Header shared = raw.Of(i, false, false);
                     shared.mmap = true;
                     std::string list;
                     for (uint32_t k = 0; k < 1 + i % 100; ++k) {
                       const auto reference = EncodeReference({1 + (i + k) % 1000, k, 100});
                       list.append(reference.begin(), reference.end());
                     }
                     raw.Send(shared, list, i % 3);
                   }
                 },
             .bytes_max = 32 << 10,
             .fds_max = kLimits.open_per_sender,
             .check =
                 [&asked](const LocalPort& port, uint64_t delivered) {
                   EXPECT_EQ(port.receiver->held_messages(), kLimits.open_per_sender);
                   EXPECT_EQ(port.receiver->refusals(Rule::kFrg8), kHeld - kLimits.open_per_sender);
                   EXPECT_EQ(port.receiver->refusals(), kHeld - kLimits.open_per_sender);
                   // Of 40 messages, the i-th names i+1 to 2i+1: each once.
                   EXPECT_EQ(asked, 2 * uint64_t{kLimits.open_per_sender} - 1);
                   EXPECT_EQ(delivered, 0U);
                 },
             .receiving = {.ask_segment = [&asked](int32_t, uint32_t) { ++asked; }}});
}

// SHM-8: each is good, and there is an end to it.
TEST(HostilePeerTest, ValidSegments) {
  constexpr uint32_t kIds = 64;
  constexpr uint32_t kSegments = 100;
  const auto segments =
      ReceivingProcess::Create({.layout = Newest().segment_layout, .ids_max = kIds});
  Withstand(
      {.attack =
           [](Raw& raw) {
             Header announcement = raw.Of(0, false, false);
             announcement.type = TypeNumber(Newest(), Type::kMmap);
             for (uint32_t i = 0; i < kSegments; ++i) {
               const auto segment =
                   Segment::Create({.id = i, .source_pid = ::getpid(), .sent_over = kSentOverAny},
                                   Newest().segment_layout);
               if (!segment.ok()) ::_exit(1);
               const int fd = segment->fd();
               for (int twice = 0; twice < 2; ++twice) raw.Send(announcement, "", {&fd, 1});
             }
           },
       .bytes_max = 24 << 10,
       .check =
           [&](const LocalPort& port, uint64_t delivered) {
             EXPECT_EQ(port.receiver->refusals(Rule::kShm8), 2 * kSegments - kIds);
             EXPECT_EQ(port.receiver->refusals(), 2 * kSegments - kIds);
             EXPECT_EQ(segments->machine().segments().mapped(), kIds + 1);  // and the honest one
             EXPECT_EQ(delivered, 0U);
           },
       .receiving = {.process = segments},
       .bytes_left = 24 << 10});
  EXPECT_EQ(segments->machine().segments().mapped(), 1U);
}

// --------------------------------------------------------------------- at rest

// Of both ends together, where the loop's buffers are gone.
int64_t AtRest(Workspace& workspace) {
  workspace.actions = ReceiveActions();
  workspace.pool.ReleaseUnused();
  workspace.receive_batch.ReleaseBuffers();
  workspace.pool.ReleaseUnused();
  return live_bytes;
}

// What keeps a port busy: 200 messages of so many bytes and descriptors.
struct Work {
  const char* name;
  size_t bytes;
  size_t fds;
};
constexpr std::array<Work, 4> kWork = {
    {{"small", 10, 0}, {"fragments", 100'000, 0}, {"descriptors", 10, 1}, {"both", 50'000, 1}}};

// An idle port: less than 4 KiB of its own, also after it was busy.
TEST(HostilePeerTest, AnIdlePortIsSmall) {
  Workspace workspace;
  const OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd = null.get();
  for (const Work& work : kWork) {
    SCOPED_TRACE(work.name);
    const std::string text = Pattern(work.bytes, 1);
    const int64_t used = AtRest(workspace);
    auto pair = SocketPair::Create(Newest());
    ASSERT_TRUE(pair.ok());
    auto sender = Sender::Adopt(workspace, std::move(pair->send_end), {.profile = &Newest()});
    auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end), {.profile = &Newest()},
                                    [](Message&) {});
    ASSERT_TRUE(sender.ok() && receiver.ok());
    EXPECT_LT(AtRest(workspace) - used, 4096);
    const Buffer buffer = testing::TextBuffer(text);
    for (uint32_t i = 0; i < 200; ++i) {
      EXPECT_EQ((*sender)->Write({.type = 27,
                                  .stream = i,
                                  .batch = true,
                                  .fds = {&fd, work.fds},
                                  .chain = {&buffer, 1}}),
                WriteAnswer::kAccepted);
    }
    (*sender)->Flush();
    while ((*sender)->queued_messages() != 0) {
      (*receiver)->Turn();
      (*sender)->OnWritable();
    }
    while ((*receiver)->Turn() == Next::kCallAgain) {
    }
    std::vector<Completion> completions;
    (*sender)->TakeCompletions(completions);
    EXPECT_EQ(completions.size(), 200U);
    completions = std::vector<Completion>();
    (*sender)->OnWritable();
    EXPECT_EQ((*receiver)->open_assemblies(), 0U);
    EXPECT_LT(AtRest(workspace) - used, 4096);
  }
}

TEST(HostilePeerTest, AnIdleSharedPortIsSmall) {
  Workspace workspace;
  const OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd = null.get();
  for (const Work& work : kWork) {
    SCOPED_TRACE(work.name);
    const std::string text = Pattern(work.bytes, 1);
    const int64_t used = AtRest(workspace);
    auto pair = SocketPair::Create(Newest());
    ASSERT_TRUE(pair.ok());
    auto sender =
        SharedSender::Adopt(workspace, std::move(pair->send_end), {.profile = &Newest()}, nullptr);
    auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end), {.profile = &Newest()},
                                    [](Message&) {});
    ASSERT_TRUE(sender.ok() && receiver.ok());
    SharedSender::Writer writer(*sender, workspace);
    EXPECT_LT(AtRest(workspace) - used, 4096);
    const Buffer buffer = testing::TextBuffer(text);
    for (uint32_t i = 0; i < 200; ++i) {
      EXPECT_EQ(writer.Write({.type = 27,
                              .stream = i,
                              .batch = true,
                              .fds = {&fd, work.fds},
                              .chain = {&buffer, 1}}),
                WriteAnswer::kAccepted);
    }
    writer.Flush();
    while ((*sender)->queued_messages() != 0) {
      (*receiver)->Turn();
      (*sender)->Attend();
    }
    while ((*receiver)->Turn() == Next::kCallAgain) {
    }
    std::vector<Completion> completions;
    writer.TakeCompletions(completions);
    EXPECT_EQ(completions.size(), 200U);
    completions = std::vector<Completion>();
    (*sender)->Attend();
    EXPECT_LT(AtRest(workspace) - used, 4096);
  }
}

}  // namespace
}  // namespace portproof
