// Segments between a sender and a receiver, honest and hostile: SHM-2, SHM-6, SHM-8,
// SHM-13. Every case ends with a census of descriptors, and of chunks where the segment
// is ours.
#include "port/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "port/owned_fd.h"
#include "port/receiving_process.h"
#include "port/segment_guard.h"

namespace portproof {
namespace {

constexpr int32_t kPeer = 101;
constexpr int32_t kOther = 102;
constexpr std::optional<Rule> kGood = std::nullopt;
constexpr size_t kUnitBytes = kUnitGeometry.SegmentBytes();

size_t OpenDescriptors() {
  size_t count = 0;
  DIR* const directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

// A memory file's pages are in this process.
bool AnyMapped() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:") != std::string::npos) return true;
  }
  return false;
}

std::vector<OwnedFd> One(int fd) {
  std::vector<OwnedFd> fds;
  fds.emplace_back(fd);
  return fds;
}

std::vector<OwnedFd> CopyOf(int fd) { return One(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

// A file as a peer may make it: any size, sealed or not, with a good header.
struct Forgery {
  SegmentHeader header = {.id = 0, .source_pid = kPeer};
  size_t bytes = kUnitBytes;
  int seals = F_SEAL_SHRINK | F_SEAL_GROW;
};

OwnedFd Forge(const Forgery& forgery) {
  OwnedFd fd(memfd_create("forgery", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(forgery.bytes)), 0);
  std::vector<uint8_t> header(kUnitGeometry.header_bytes);
  EncodeSegmentHeader(forgery.header, SegmentLayout::kOosm, kUnitGeometry, header);
  header.resize(std::min(header.size(), forgery.bytes));
  EXPECT_EQ(pwrite(fd.get(), header.data(), header.size(), 0), static_cast<ssize_t>(header.size()));
  if (forgery.seals != 0) {
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, forgery.seals), 0);
  }
  return fd;
}

// A process with one port and no socket: what it is told of announcements and references,
// and the parts that it has of them.
class SegmentDesk {
 public:
  std::optional<Rule> Announce(int32_t sender, std::vector<OwnedFd> descriptors) {
    Fds fds;
    for (OwnedFd& fd : descriptors) fds.push_back(std::move(fd));
    Step(machine(), Announced{port_, process_->Describe(sender, fds)}, process_->view(), actions_);
    if (actions_.front().kind == Kind::kMap) {
      const ReceiveAction map = actions_.front();
      Step(machine(), Mapped{map.slot, process_->Map(map, fds.front().get())}, process_->view(),
           actions_);
    }
    return actions_.empty() ? std::nullopt : actions_.front().rule;
  }
  std::optional<Rule> Accept(int32_t sender, const std::vector<Reference>& references) {
    const Header header{.stream = 1, .pid = sender, .type = 3, .mmap = true};
    ReferenceList named;
    named.well_formed = true;
    named.references = references;
    const auto bytes = static_cast<uint32_t>(references.size() * kReferenceBytes);
    const Arrival arrival{.port = port_,
                          .received = {.bytes = kHeaderBytes + bytes},
                          .header = &header,
                          .payload_bytes = bytes,
                          .named = &named};
    Step(machine(), arrival, process_->view(), actions_);
    std::optional<Rule> refused;
    for (const ReceiveAction& action : actions_) {
      process_->Perform(action);
      if (action.kind == Kind::kLend) {
        holdings.push_back(action.holding);
        parts.push_back(process_->Lend(action.holding));
      }
      if (action.kind == Kind::kRefuse) refused = action.rule;
    }
    return refused;
  }
  void SenderDied(int32_t sender) { Unmap(portproof::SenderDied{port_, sender}); }
  const SegmentTable& table() { return machine().segments(); }
  bool Damaged(const Holding& holding) const { return process_->Damaged(holding); }

  std::vector<Holding> holdings;  // of the parts
  std::vector<Part> parts;

 private:
  using Kind = ReceiveAction::Kind;

  ReceiveMachine& machine() { return process_->machine(); }
  void Unmap(const ReceiveEvent& event) {
    Step(machine(), event, process_->view(), actions_);
    for (const ReceiveAction& action : actions_) process_->Perform(action);
  }

  std::shared_ptr<ReceivingProcess> process_ = ReceivingProcess::Create(SegmentConfig{});
  uint32_t port_ = machine().AddPort(
      {.profile = ResolveProfile("unit-1.18.0")->profile});  // where nothing is held
  ReceiveActions actions_;
};

class SegmentTest : public testing::Test {
 protected:
  void TearDown() override {
    receiver_->parts.clear();
    receiver_->SenderDied(kPeer);
    receiver_->SenderDied(kOther);
    EXPECT_EQ(receiver_->table().mapped(), 0U);
    receiver_.reset();
    EXPECT_EQ(OpenDescriptors(), descriptors_);
    EXPECT_FALSE(AnyMapped());
  }

  Segment Create(uint32_t id, int32_t pid = kPeer) {
    auto segment =
        Segment::Create({.id = id, .source_pid = pid, .sent_over = 5}, SegmentLayout::kOosm);
    EXPECT_TRUE(segment.ok()) << segment.status();
    return *std::move(segment);
  }
  std::optional<Rule> Announce(const Segment& segment, int32_t pid = kPeer) {
    return receiver_->Announce(pid, CopyOf(segment.fd()));
  }
  std::optional<Rule> Accept(const std::vector<Reference>& references, int32_t pid = kPeer) {
    return receiver_->Accept(pid, references);
  }

  size_t descriptors_ = OpenDescriptors();
  std::optional<SegmentDesk> receiver_{std::in_place};
};

TEST_F(SegmentTest, SHM_6_BytesArriveInPlaceAndTheReceiverFreesTheirChunks) {
  Segment segment = Create(3);
  EXPECT_FALSE(segment.UsableOver(4));  // announced over port 5 only
  EXPECT_TRUE(segment.UsableOver(5));
  ASSERT_EQ(Announce(segment), kGood);
  EXPECT_TRUE(segment.UsableOver(4));
  const auto range = segment.Allocate(50000);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->count, 4U);
  std::memset(segment.Memory(*range).data(), 'x', 50000);
  const Buffer buffer = segment.BufferOf(*range, 50000, 1, 4);
  EXPECT_TRUE(buffer.usable && buffer.kind == BufferKind::kShared);
  const Reference reference = {3, range->first, 50000};
  segment.HandedOver(reference);
  EXPECT_EQ(segment.Release(*range), 0U);
  EXPECT_EQ(segment.FreeCount(), 636U);
  ASSERT_EQ(Accept({reference}), kGood);
  const auto memory = receiver_->parts.front().bytes();
  EXPECT_EQ(memory.size(), 50000U);
  EXPECT_EQ(std::count(memory.begin(), memory.end(), 'x'), 50000);
  receiver_->parts.clear();
  EXPECT_EQ(segment.FreeCount(), 640U);
  EXPECT_EQ(segment.OwnCount(), 0U);
}

TEST_F(SegmentTest, SHM_8_CannotBeShrunkNorGrown) {
  const Segment segment = Create(0);
  EXPECT_NE(ftruncate(segment.fd(), 4096), 0);
  EXPECT_NE(ftruncate(segment.fd(), static_cast<off_t>(kUnitBytes + 4096)), 0);
  EXPECT_NE(fcntl(segment.fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(SegmentTest, SHM_6_StopsWhenAPeerFreesWhatItDoesNotOwn) {
  Segment segment = Create(0);
  const auto range = segment.Allocate(1);
  ASSERT_TRUE(range);
  Mapping peer = Mapping::Map(Kernel::Real(), segment.fd(), kUnitBytes);
  AtomicWords words = peer.Words(SegmentLayout::kOosm);
  FreeChunks(words, range->first, 1);
  EXPECT_FALSE(segment.Allocate(1));
  EXPECT_FALSE(segment.Allocate(1));
}

TEST_F(SegmentTest, SHM_8_RefusesWhatIsNoSegment) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  OwnedFd write_end(pipe_ends[1]);
  EXPECT_EQ(receiver_->Announce(kPeer, One(pipe_ends[0])), Rule::kShm8);
  EXPECT_EQ(receiver_->Announce(kPeer, {}), Rule::kShm8);
  std::vector<OwnedFd> two = One(Forge({}).Release());
  two.push_back(Forge({}));
  EXPECT_EQ(receiver_->Announce(kPeer, std::move(two)), Rule::kShm8);
  EXPECT_EQ(receiver_->Announce(kPeer, One(open("/proc/self/exe", O_RDONLY | O_CLOEXEC))),
            Rule::kShm8);
  EXPECT_EQ(receiver_->Announce(kPeer, One(open("/dev/zero", O_RDWR | O_CLOEXEC))), Rule::kShm8);
  for (const size_t bytes : {size_t{0}, size_t{8}, size_t{2048}, kUnitBytes - 1, kUnitBytes + 1}) {
    EXPECT_EQ(receiver_->Announce(kPeer, One(Forge({.bytes = bytes}).Release())), Rule::kShm8)
        << bytes;
  }
}

TEST_F(SegmentTest, SHM_8_RefusesWhatCannotBeWritten) {
  const OwnedFd file = Forge({});
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  EXPECT_EQ(receiver_->Announce(kPeer, One(open(path.c_str(), O_RDONLY | O_CLOEXEC))), Rule::kShm8);
  OwnedFd sealed = Forge({.seals = F_SEAL_SHRINK | F_SEAL_WRITE});
  EXPECT_EQ(receiver_->Announce(kPeer, One(sealed.Release())), Rule::kShm8);
}

TEST_F(SegmentTest, SHM_8_RefusesDuplicatesHugeIdsAndOthersNames) {
  const Segment segment = Create(7);
  ASSERT_EQ(Announce(segment), kGood);
  EXPECT_EQ(Announce(segment), Rule::kShm8);
  EXPECT_EQ(Announce(Create(7)), Rule::kShm8);
  EXPECT_EQ(Announce(Create(1024)), Rule::kShm8);
  EXPECT_EQ(Announce(Create(0xffffffff)), Rule::kShm8);
  EXPECT_EQ(Announce(Create(8), kOther), Rule::kShm8);
  EXPECT_EQ(receiver_->table().mapped(), 1U);
}

TEST_F(SegmentTest, SHM_2_RefusedMessagesFreeTheirGoodChunksOnce) {
  Segment segment = Create(0);
  Segment other = Create(0, kOther);
  ASSERT_EQ(Announce(segment), kGood);
  ASSERT_EQ(Announce(other, kOther), kGood);
  for (const Reference& bad : {Reference{0, 640, 1}, Reference{0, 0, 0}, Reference{0, 639, 16385},
                               Reference{0, 0, 0xffffffff}, Reference{0, 0, 0xffffc001},
                               Reference{0, 300, 1}, Reference{1, 0, 1}, Reference{0, 0, 16384}}) {
    const auto range = segment.Allocate(2 * 16384);
    ASSERT_TRUE(range);
    const Reference good = {0, range->first, 2 * 16384};
    segment.HandedOver(good);
    EXPECT_NE(Accept({good, bad}), kGood) << ToString(bad);
    EXPECT_EQ(segment.FreeCount(), 640U) << ToString(bad);
    EXPECT_EQ(other.FreeCount(), 640U);
  }
  EXPECT_EQ(receiver_->table().held_chunks(), 0U);
}

TEST_F(SegmentTest, SHM_13_ATakenChunkOutlivesItsSender) {
  {
    Segment segment = Create(0);
    ASSERT_EQ(Announce(segment), kGood);
    const auto range = segment.Allocate(5);
    ASSERT_TRUE(range);
    std::memcpy(segment.Memory(*range).data(), "taken", 5);
    segment.HandedOver({0, range->first, 5});
    ASSERT_EQ(Accept({{0, range->first, 5}}), kGood);
  }
  receiver_->SenderDied(kPeer);
  EXPECT_EQ(receiver_->table().mapped(), 1U);
  EXPECT_EQ(std::memcmp(receiver_->parts.front().bytes().data(), "taken", 5), 0);
  receiver_->parts.clear();
  EXPECT_EQ(receiver_->table().mapped(), 0U);
}

TEST_F(SegmentTest, SHM_6_ADeadReceiverLeavesTheRestToItsSender) {
  Segment segment = Create(0);
  const auto unsent = segment.Allocate(3 * 16384);
  ASSERT_TRUE(unsent);
  EXPECT_EQ(segment.Release(*unsent), 3U);
  EXPECT_EQ(segment.Release(*unsent), 0U);
  EXPECT_EQ(segment.FreeCount(), 640U);
}

// PRT-1: the chunks are the parent's, and so is their bitmap.
TEST_F(SegmentTest, SHM_6_AChildAllocatesAndFreesNothing) {
  Segment segment = Create(0);
  const auto unsent = segment.Allocate(1);
  const auto sent = segment.Allocate(1);
  ASSERT_TRUE(unsent && sent);
  segment.HandedOver({0, sent->first, 1});
  const pid_t child = fork();
  if (child == 0) {
    const bool nothing = segment.Release(*unsent) == 0 && !segment.Allocate(1);
    segment.ReceiverDied();
    _exit(nothing ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(segment.FreeCount(), 638U);
}

// One that was sent is no access to be repeated: it ends the process all the same, or is
// ignored where it was ignored before, and then the guard stays.
TEST_F(SegmentTest, SHM_8_TheGuardPassesOnWhatWasSent) {
  for (const bool ignored : {false, true}) {
    const pid_t child = fork();
    if (child == 0) {
      struct rlimit no_core = {};
      setrlimit(RLIMIT_CORE, &no_core);
      signal(SIGBUS, ignored ? SIG_IGN : SIG_DFL);
      if (!SegmentGuard::Install()) _exit(1);
      raise(SIGBUS);
      struct sigaction now = {};
      sigaction(SIGBUS, nullptr, &now);
      _exit((now.sa_flags & SA_SIGINFO) != 0 ? 77 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (ignored) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 77) << status;
    } else {
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) << status;
    }
  }
}

// Last in the file: the guard, once installed, stays.
TEST_F(SegmentTest, SHM_8_UnsealedOnesNeedTheGuardAndMayThenBeTruncated) {
  EXPECT_EQ(receiver_->Announce(kPeer, One(Forge({.seals = F_SEAL_GROW}).Release())), Rule::kShm8);
  Forgery unsealed{.seals = 0};
  EXPECT_EQ(receiver_->Announce(kPeer, One(Forge(unsealed).Release())), Rule::kShm8);
  ASSERT_TRUE(SegmentGuard::Install());
  ASSERT_TRUE(SegmentGuard::Install());
  OwnedFd file = Forge(unsealed);
  ASSERT_EQ(receiver_->Announce(kPeer, CopyOf(file.get())), kGood);
  unsealed.header.id = 1;
  ASSERT_EQ(receiver_->Announce(kPeer, One(Forge(unsealed).Release())), kGood);
  Mapping peer = Mapping::Map(Kernel::Real(), file.get(), kUnitBytes);
  AtomicWords words = peer.Words(SegmentLayout::kOosm);
  ASSERT_EQ(AllocateChunks(words, kUnitGeometry, 4), 0U);
  ASSERT_EQ(Accept({{0, 0, 1}, {0, 2, 16385}}), kGood);
  const std::vector<Holding> held = receiver_->holdings;
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  EXPECT_FALSE(receiver_->Damaged(held[0]));
  errno = EXDEV;
  EXPECT_EQ(receiver_->parts[1].bytes()[16384], 0);  // would be fatal
  EXPECT_EQ(errno, EXDEV);
  EXPECT_TRUE(receiver_->Damaged(held[0]));
  EXPECT_EQ(Accept({{0, 1, 1}}), Rule::kShm2);
  receiver_->parts.clear();
  EXPECT_EQ(receiver_->table().held_chunks(), 0U);
}

TEST_F(SegmentTest, SHM_8_ABitmapThatDiesIsNoneThatSaysBusy) {
  ASSERT_TRUE(SegmentGuard::Install());
  const OwnedFd file = Forge({.seals = 0});
  ASSERT_EQ(receiver_->Announce(kPeer, CopyOf(file.get())), kGood);
  ASSERT_EQ(ftruncate(file.get(), 0), 0);
  EXPECT_EQ(Accept({{0, 0, 1}}), Rule::kShm2);
  EXPECT_EQ(Accept({{0, 0, 1}}), Rule::kShm2);
  EXPECT_EQ(receiver_->table().held_chunks(), 0U);
}

// What died does not count against what comes after it.
TEST_F(SegmentTest, SHM_8_AGuardedPlaceIsCleanForTheNext) {
  ASSERT_TRUE(SegmentGuard::Install());
  const OwnedFd dead = Forge({.seals = 0});
  ASSERT_EQ(receiver_->Announce(kPeer, CopyOf(dead.get())), kGood);
  ASSERT_EQ(ftruncate(dead.get(), 0), 0);
  EXPECT_EQ(Accept({{0, 0, 1}}), Rule::kShm2);
  receiver_->SenderDied(kPeer);
  EXPECT_FALSE(AnyMapped());
  const OwnedFd file = Forge({.seals = 0});
  ASSERT_EQ(receiver_->Announce(kPeer, CopyOf(file.get())), kGood);
  {
    const Mapping peer = Mapping::Map(Kernel::Real(), file.get(), kUnitBytes);
    AtomicWords words = peer.Words(SegmentLayout::kOosm);
    ASSERT_EQ(AllocateChunks(words, kUnitGeometry, 1), 0U);
  }
  ASSERT_EQ(Accept({{0, 0, 1}}), kGood);
  receiver_->SenderDied(kPeer);
  EXPECT_TRUE(AnyMapped());
  receiver_->parts.clear();
  EXPECT_FALSE(AnyMapped());
}

// A bus error that is not a segment's ends the process, as it would without the guard.
TEST_F(SegmentTest, SHM_8_TheGuardSavesNothingElse) {
  constexpr int kSurvived = 77;
  const pid_t child = fork();
  if (child == 0) {
    SegmentGuard::Install();
    const OwnedFd file = Forge({.seals = 0});
    const Mapping stray = Mapping::Map(Kernel::Real(), file.get(), kUnitBytes);
    if (ftruncate(file.get(), 0) != 0) _exit(kSurvived);
    volatile const uint8_t byte = stray.bytes()[0];
    static_cast<void>(byte);
    _exit(kSurvived);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(!WIFEXITED(status) || WEXITSTATUS(status) != kSurvived) << status;
}

}  // namespace
}  // namespace portproof
