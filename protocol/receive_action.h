// What the receive machine tells its shell to do, in this order.
//
//   shapes    the datagram at hand is the one that the event brought, or the kept one that
//             kResume names. A slot is a small number; open assemblies, kept datagrams and
//             segments are numbered apart. Sizes are in bytes
//   returns   -
//   holds     -
//   rules     none of its own
//   source    none
//
// A delivery is the last action of its list. The handler may cause further events, and they
// must not find a list that is half performed.
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
  kRemovePid,     // raise the event SenderDied of the process it names; then the handler gets it
  kAnnouncement,  // raise the event Announced with its descriptors (SHM-8)
};

struct ReceiveAction {
  enum class Kind : uint8_t {
    // A turn: one of these ends its list.
    kRead,      // receive up to `count` datagrams in one call, then the event CallReturned
    kAskSlots,  // find out whether a batch's descriptors have room, then SlotsCounted
    kStop,      // the turn is over; `next` says how. With Next::kEnd, close the port

    kGoOn,  // a held datagram can go on: raise GoesOn for the port of ready(), until it has none

    // The datagram at hand.
    kResume,   // take the datagram that was kept under `slot`; the slot is free now
    kLend,     // the chunks of `holding` are its next piece of payload, until Released
    kTake,     // swap the tracking word `count` of segment `slot` from header.stream to 0. If
               // the swap fails, skip the rest of the list and raise Cancelled
    kDeliver,  // it is a whole message: header, payload_bytes, use
    kOpen,     // begin assembly `slot` with its descriptors and payload
    kAppend,   // append its payload to assembly `slot`
    kFinish,   // append its payload; assembly `slot` is now a whole message (header,
               // payload_bytes, fragments, use), and the slot is free
    kKeep,     // keep it unchanged under `slot`, until kResume or kDropKept
    kRefuse,   // count `rule`, tell the observer, close its descriptors
    kReport,   // tell the observer that its sender broke `rule`; it is processed all the same
    kDrop,     // close its descriptors and process it no further; this is no refusal

    // What was kept before.
    kDiscard,   // assembly `slot`: descriptors closed, chunks released; the slot is free
    kCancel,    // the same, but the slot stays in use until the message's end (SHM-14)
    kDropKept,  // the datagram kept under `slot`: descriptors closed; the slot is free

    // Segments.
    kFree,   // mark the chunks of `holding` free in the bitmap
    kMap,    // map the file at hand as segment `slot`, guarded if `guard` is set; raise Mapped
    kUnmap,  // unmap segment `slot`
    kAsk,    // send get_mmap for segment id `count` to `sender` (SHM-10)
  };

  Kind kind = Kind::kDeliver;
  Storage storage = Storage::kNone;  // kOpen, kAppend, kFinish
  Use use = Use::kHandler;
  Next next = Next::kRead;
  bool guard = false;
  // kRefuse, kReport, kDiscard: the reason. kDeliver, kOpen, kAppend, kFinish: a rule that the
  // sender broke although the datagram is accepted; tell the observer.
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
