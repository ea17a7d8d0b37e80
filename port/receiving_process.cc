#include "port/receiving_process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "protocol/chunk_map.h"

namespace portproof {

std::shared_ptr<ReceivingProcess> ReceivingProcess::Create(const SegmentConfig& config,
                                                           Kernel& kernel) {
  return std::shared_ptr<ReceivingProcess>(new ReceivingProcess(config, kernel));
}

uint32_t ReceivingProcess::Add(Receiver& receiver, const ReceivePortConfig& config) {
  const uint32_t port = machine_.AddPort(config);
  if (port >= receivers_.size()) receivers_.resize(port + 1);
  receivers_[port] = &receiver;
  return port;
}

void ReceivingProcess::Remove(uint32_t port) {
  machine_.RemovePort(port);
  receivers_[port] = nullptr;
}

// ------------------------------------------------------------ announcements

// The seals are read before the size: once shrinking is sealed, the size cannot become less.
Announcement ReceivingProcess::Describe(int32_t sender, const Fds& fds) const {
  Announcement announcement{.sender = sender, .fds = static_cast<uint32_t>(fds.size())};
  if (fds.size() != 1) return announcement;
  const int fd = fds.front().get();
  const int seals = kernel_.GetSeals(fd);
  if (seals < 0) return announcement;  // no memory file: reading it could wait for ever
  announcement.sealed = (seals & F_SEAL_SHRINK) != 0;
  announcement.guarded = SegmentGuard::installed();
  struct stat status = {};
  if (kernel_.Status(fd, status) != 0 || !S_ISREG(status.st_mode)) return announcement;
  const ssize_t got = kernel_.ReadAt(fd, announcement.head.data(), announcement.head.size(), 0);
  if (got != static_cast<ssize_t>(announcement.head.size())) return announcement;
  announcement.file_bytes = static_cast<uint64_t>(status.st_size);
  return announcement;
}

bool ReceivingProcess::Map(const ReceiveAction& action, int fd) {
  Mapped mapped{Mapping::Map(kernel_, fd, config().geometry.SegmentBytes()), std::nullopt};
  if (!mapped.mapping.valid()) return false;
  if (action.guard) {
    mapped.watch = SegmentGuard::Watch::Begin(mapped.mapping.bytes());
    if (!mapped.watch) return false;
  }
  mapped.mapping.SentOver(config().layout).store(kSentOverAny, std::memory_order_release);
  if (action.slot >= mapped_.size()) mapped_.resize(action.slot + 1);
  mapped_[action.slot] = std::move(mapped);
  return true;
}

// ------------------------------------------------------------------- memory

AtomicWords ReceivingProcess::WordsOf(uint32_t slot) const {
  return mapped_[slot].mapping.Words(config().layout);
}

bool ReceivingProcess::AllBusy(uint32_t slot, uint32_t first_chunk, uint32_t chunk_count) const {
  AtomicWords words = WordsOf(slot);
  return portproof::AllBusy(words, first_chunk, chunk_count);
}

bool ReceivingProcess::Poisoned(uint32_t slot) const {
  return mapped_[slot].watch && mapped_[slot].watch->poisoned();
}

bool ReceivingProcess::Take(const ReceiveAction& action) const {
  AtomicWords words = mapped_[action.slot].mapping.TrackingWords(config().layout);
  return TakeTracked(words, action.count, action.header.stream);
}

void ReceivingProcess::Perform(const ReceiveAction& action) {
  if (action.kind == ReceiveAction::Kind::kFree) Free(action.holding);
  if (action.kind == ReceiveAction::Kind::kUnmap) {
    const Mapped gone = std::exchange(mapped_[action.slot], {});
  }
}

// In a forked child the chunks are the parent's, so nothing is freed (PRT-1).
void ReceivingProcess::Free(const Holding& holding) const {
  if (forked()) return;
  AtomicWords words = WordsOf(holding.slot);
  FreeChunks(words, holding.first_chunk, holding.chunk_count);
}

std::span<uint8_t> ReceivingProcess::Memory(const Holding& holding) const {
  const Geometry& geometry = config().geometry;
  const size_t begin = geometry.header_bytes + size_t{holding.first_chunk} * geometry.chunk_bytes;
  return mapped_[holding.slot].mapping.bytes().subspan(begin, holding.bytes);
}

class ReceivingProcess::Lent : public BlockOwner {
 public:
  Lent(std::shared_ptr<ReceivingProcess> process, const Holding& holding)
      : process_(std::move(process)),
        holding_(holding),
        block_(*this, process_->Memory(holding).data(), holding.bytes) {}

  Block* block() { return &block_; }
  bool shared() const override { return true; }
  void TakeBack(Block* /*block*/) override {
    if (!process_->forked()) Release();
    delete this;
  }

 private:
  void Release() {
    ReceiveActions& actions = process_->releasing_;
    Step(process_->machine_, Released{holding_}, *process_, actions);
    for (const ReceiveAction& action : actions) process_->Perform(action);
  }

  std::shared_ptr<ReceivingProcess> process_;
  Holding holding_;
  Block block_;
};

Part ReceivingProcess::Lend(const Holding& holding) {
  auto* const lent = new Lent(shared_from_this(), holding);  // it deletes itself
  return {lent->block(), 0, holding.bytes};
}

}  // namespace portproof
