// What the receive machine tells its shell to do, in this order.
//
//   shapes    the datagram at hand is the one that the event brought, or the kept one that
//             kResume names. A slot is a small number: of an open assembly, of a kept
//             datagram, of a segment. Sizes in bytes, chunks in number
//   returns   -
//   holds     -
//   rules     none of its own
//   source    none
//
// A list that delivers a message ends with that: whatever the handler does to the machine is
// an event of its own, and meets no list that is half performed.
#ifndef PORTPROOF_PROTOCOL_RECEIVE_ACTION_H_
#define PORTPROOF_PROTOCOL_RECEIVE_ACTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/chunk.h"
#include "protocol/header.h"
#include "protocol/rule.h"
#include "protocol/segment_table.h"
#include "protocol/turn.h"

namespace portproof {

// Where the payload of a fragment that stays goes, so that memory follows bytes.
enum class Storage : uint8_t {
  kNone,  // no payload (FRG-7), nothing is kept
  kKeep,  // the receive buffer itself joins the chain
  kTail,  // copied into the free room of the chain's last buffer
  kSlab,  // copied into a new buffer of slab_bytes
};

// What becomes of a whole message.
enum class Use : uint8_t {
  kHandler,       // the port's handler gets it
  kRemovePid,     // so it does, after the event SenderDied of the process that it names
  kAnnouncement,  // the event Announced, of its descriptors (SHM-8)
};

struct ReceiveAction {
  enum class Kind : uint8_t {
    // A turn: one of these ends its list.
    kRead,      // receive up to `count` datagrams in one call, then the event CallReturned
    kAskSlots,  // find out whether a batch's descriptors have room, then SlotsCounted
    kStop,      // the turn is over: `next`. kEnd: the port is over, too; close it

    kGoOn,  // a held datagram goes on: GoesOn for the port that ready() names, while there is one

    // The datagram at hand.
    kResume,   // it is the one that was kept under `slot`, which is free now
    kLend,     // the chunks of `holding` are its next piece of payload, until Released
    kTake,     // swap the tracking word `count` of segment `slot`, header.stream -> 0. Where
               // it holds anything else: leave the rest of the list, the event Cancelled
    kDeliver,  // it is a message: header, payload_bytes, use
    kOpen,     // assembly `slot` begins with its descriptors and payload
    kAppend,   // its payload goes to assembly `slot`
    kFinish,   // so does this one's; then `slot` is a message (header, payload_bytes,
               // fragments, use), and free
    kKeep,     // keep it as it is under `slot`, until kResume or kDropKept
    kRefuse,   // count and tell `rule`; close its descriptors
    kReport,   // tell `rule`, which its sender broke; it goes on
    kDrop,     // close its descriptors; it goes no further, and that is no refusal

    // What was kept before.
    kDiscard,   // assembly `slot`: descriptors closed, chunks released; the slot is free
    kCancel,    // the same, but the slot stays in use until the message's end (SHM-14)
    kDropKept,  // the datagram kept under `slot`: descriptors closed; the slot is free

    // Segments.
    kFree,   // the chunks of `holding` are free again: say so in the bitmap
    kMap,    // map the file at hand as segment `slot`, with the guard where `guard`, then Mapped
    kUnmap,  // segment `slot`
    kAsk,    // send get_mmap for segment id `count` to `sender` (SHM-10)
  };

  Kind kind = Kind::kDeliver;
  Storage storage = Storage::kNone;  // kOpen, kAppend, kFinish
  Use use = Use::kHandler;
  Next next = Next::kRead;
  bool guard = false;
  // Of a refusal, a report, a discard: why. kDeliver, kOpen, kAppend, kFinish: what the sender
  // broke, the datagram being accepted: tell it.
  std::optional<Rule> rule = std::nullopt;
  uint32_t slot = 0;
  uint32_t count = 0;
  int32_t sender = 0;  // HDR-7: of the datagram, or the one to ask
  uint32_t slab_bytes = 0;
  uint32_t fragments = 1;
  uint32_t payload_bytes = 0;  // kDeliver, kFinish: of the message; else of the datagram
  Header header = {};          // kDeliver, kFinish: nf = mf = 0, last = OR over all (FRG-4)
  Holding holding = {};

  friend bool operator==(const ReceiveAction&, const ReceiveAction&) = default;
};

using ReceiveActions = std::vector<ReceiveAction>;

std::string_view Name(ReceiveAction::Kind kind);  // "deliver"
std::string ToString(const ReceiveAction& action);
std::string ToString(const ReceiveActions& actions);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_RECEIVE_ACTION_H_
