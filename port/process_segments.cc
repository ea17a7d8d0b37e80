#include "port/process_segments.h"

#include <utility>

#include "port/process.h"

namespace portproof {

std::shared_ptr<ProcessSegments> ProcessSegments::Create(const SegmentConfig& config,
                                                         Kernel& kernel) {
  return std::shared_ptr<ProcessSegments>(new ProcessSegments(config, kernel));
}

class ProcessSegments::Lent : public BlockOwner {
 public:
  Lent(std::shared_ptr<ProcessSegments> segments, const Holding& holding)
      : segments_(std::move(segments)),
        holding_(holding),
        generation_(ForkGeneration()),
        block_(*this, const_cast<uint8_t*>(segments_->receiver_.Memory(holding).data()),
               holding.bytes) {}

  Block* block() { return &block_; }
  bool shared() const override { return true; }
  void TakeBack(Block* /*block*/) override {
    if (generation_ == ForkGeneration()) segments_->receiver_.Release(holding_);
    delete this;
  }

 private:
  std::shared_ptr<ProcessSegments> segments_;
  Holding holding_;
  uint32_t generation_;
  Block block_;
};

Part ProcessSegments::Lend(const Holding& holding) {
  auto* const lent = new Lent(shared_from_this(), holding);  // it deletes itself
  return {lent->block(), 0, holding.bytes};
}

}  // namespace portproof
