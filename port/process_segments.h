// The segments that were announced to this process, over whichever of its ports.
//
//   shapes    see segment_receiver.h; a part lends the chunks of one reference
//   returns   Lend: the chunks as a part, which frees them when it goes
//   holds     the segments, shared by the receivers of a process and by the parts that
//             their handlers kept (SHM-13)
//   rules     SHM-6, SHM-10, SHM-13, PRT-1: a child that was forked frees nothing
//   source    nxt_process_t's incoming mmaps
#ifndef PORTPROOF_PORT_PROCESS_SEGMENTS_H_
#define PORTPROOF_PORT_PROCESS_SEGMENTS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "port/buffer_pool.h"
#include "port/segment_receiver.h"

namespace portproof {

class Receiver;

// Not for several threads, nor are the parts it lends. A config for unit-seed names the
// process (SHM-8); a child that was forked makes its own.
class ProcessSegments : public std::enable_shared_from_this<ProcessSegments> {
 public:
  static std::shared_ptr<ProcessSegments> Create(const SegmentConfig& config,
                                                 Kernel& kernel = Kernel::Real());

  SegmentReceiver& receiver() { return receiver_; }
  Part Lend(const Holding& holding);

  // For the receivers of the process: each of them, and whether one has messages that
  // were held for want of an announcement and now go on (SHM-10).
  std::vector<Receiver*>& receivers() { return receivers_; }
  bool resumable() const { return resumable_; }
  void SetResumable(bool resumable) { resumable_ = resumable; }

 private:
  class Lent;
  ProcessSegments(const SegmentConfig& config, Kernel& kernel) : receiver_(config, kernel) {}

  SegmentReceiver receiver_;
  std::vector<Receiver*> receivers_;
  bool resumable_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_PROCESS_SEGMENTS_H_
