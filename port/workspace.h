// What a loop lends to its ports while they work, so that an idle port holds nothing:
// receive buffers, the arrays of a batch, plans, lists of actions.
//
//   shapes    one for each thread that runs ports; `buffer_bytes` must hold the largest
//             datagram of each of its receivers (MAX + 16)
//   returns   its members, for sender and receiver
//   holds     about 100 KiB, 16 receive buffers, and those that were used and came back
//   rules     none of its own; FRG-8's bound leaves it out, since it is the loop's
//   source    none
#ifndef PORTPROOF_PORT_WORKSPACE_H_
#define PORTPROOF_PORT_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "port/buffer_pool.h"
#include "port/datagram_io.h"
#include "port/kernel.h"
#include "protocol/chunk.h"
#include "protocol/receive_action.h"
#include "protocol/send_machine.h"

namespace portproof {

struct Message;

struct Workspace {
  static constexpr uint32_t kBufferBytesDefault = 16384 + kHeaderBytes;

  explicit Workspace(Kernel& kernel = Kernel::Real(), uint32_t buffer_bytes = kBufferBytesDefault,
                     size_t retained = BufferPool::kRetainedDefault)
      : kernel(kernel), pool(buffer_bytes, retained) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // RCV-5: whether there is room for the descriptors that a batch can bring.
  bool CountSlots() {
    unsigned free = 0;
    const int asked = kernel.FreeSlots(ReceiveBatch::kSlotsMax, free);
    slots_short = asked != 0 || free != ReceiveBatch::kSlotsMax;
    return !slots_short;
  }

  Kernel& kernel;
  BufferPool pool;

  // One of its receivers saw descriptor slots short, and none has seen room since (RCV-5).
  bool slots_short = false;

  // Of a receiver, while it is in a turn: no other turn begins meanwhile.
  bool receiving = false;
  std::vector<std::unique_ptr<std::function<void(Message&)>>> finished_handlers;
  ReceiveBatch receive_batch;
  ReceiveActions actions;
  ReferenceList named;

  // Of a sender, while it flushes.
  SendBatch send_batch;
  SendPlan plan;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_WORKSPACE_H_
