// The receive machine in words, for the messages of tests and for stories.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/receive_machine.h"

namespace portproof {
namespace {

using Kind = ReceiveAction::Kind;

absl::string_view Text(std::string_view text) { return {text.data(), text.size()}; }

std::string NameOf(Storage storage, uint32_t slab_bytes) {
  switch (storage) {
    case Storage::kNone:
      return "none";
    case Storage::kKeep:
      return "keep";
    case Storage::kTail:
      return "tail";
    case Storage::kSlab:
      return absl::StrCat("slab ", slab_bytes);
  }
  return "";
}

absl::string_view NameOf(Use use) {
  switch (use) {
    case Use::kHandler:
      return "";
    case Use::kRemovePid:
      return ", a process's end";
    case Use::kAnnouncement:
      return ", an announcement";
  }
  return "";
}

absl::string_view NameOf(Next next) {
  switch (next) {
    case Next::kRead:
      return "read on";
    case Next::kWait:
      return "wait";
    case Next::kCallAgain:
      return "call again";
    case Next::kRetry:
      return "retry later";
    case Next::kEnd:
      return "end";
  }
  return "";
}

std::string ToText(const Holding& holding) {
  return absl::StrCat("segment slot ", holding.slot, " chunk ", holding.first_chunk, "+",
                      holding.chunk_count, " bytes ", holding.bytes);
}

std::string Message(const ReceiveAction& action) {
  return absl::StrCat(" ", ToString(action.header), " fragments ", action.fragments, " bytes ",
                      action.payload_bytes, NameOf(action.use));
}

std::string Details(const ReceiveAction& action) {
  switch (action.kind) {
    case Kind::kRead:
      return absl::StrCat(" ", action.count);
    case Kind::kStop:
      return absl::StrCat(": ", NameOf(action.next));
    case Kind::kLend:
    case Kind::kFree:
      return absl::StrCat(" ", ToText(action.holding));
    case Kind::kTake:
      return absl::StrCat(" word ", action.count, " of segment slot ", action.slot);
    case Kind::kDeliver:
      return Message(action);
    case Kind::kOpen:
    case Kind::kAppend:
      return absl::StrCat(" slot ", action.slot, " storage ",
                          NameOf(action.storage, action.slab_bytes), " fragments ",
                          action.fragments, " bytes ", action.payload_bytes);
    case Kind::kFinish:
      return absl::StrCat(" slot ", action.slot, Message(action));
    case Kind::kResume:
    case Kind::kKeep:
    case Kind::kDropKept:
    case Kind::kDiscard:
    case Kind::kCancel:
    case Kind::kMap:
    case Kind::kUnmap:
      return absl::StrCat(" slot ", action.slot);
    case Kind::kAsk:
      return absl::StrCat(" ", action.sender, " for segment ", action.count);
    case Kind::kAskSlots:
    case Kind::kGoOn:
    case Kind::kRefuse:
    case Kind::kReport:
    case Kind::kDrop:
      return "";
  }
  return "";
}

}  // namespace

std::string_view Name(ReceiveAction::Kind kind) {
  switch (kind) {
    case Kind::kRead:
      return "read";
    case Kind::kAskSlots:
      return "ask slots";
    case Kind::kStop:
      return "stop";
    case Kind::kGoOn:
      return "go on";
    case Kind::kResume:
      return "resume";
    case Kind::kLend:
      return "lend";
    case Kind::kTake:
      return "take";
    case Kind::kDeliver:
      return "deliver";
    case Kind::kOpen:
      return "open";
    case Kind::kAppend:
      return "append";
    case Kind::kFinish:
      return "finish";
    case Kind::kKeep:
      return "keep";
    case Kind::kRefuse:
      return "refuse";
    case Kind::kReport:
      return "report";
    case Kind::kDrop:
      return "drop";
    case Kind::kDiscard:
      return "discard";
    case Kind::kCancel:
      return "cancel";
    case Kind::kDropKept:
      return "drop kept";
    case Kind::kFree:
      return "free";
    case Kind::kMap:
      return "map";
    case Kind::kUnmap:
      return "unmap";
    case Kind::kAsk:
      return "ask";
  }
  return "";
}

std::string ToString(const ReceiveAction& action) {
  std::string text(Name(action.kind));
  if (action.rule) absl::StrAppend(&text, " ", Text(Id(*action.rule)));
  return text + Details(action);
}

std::string ToString(const ReceiveActions& actions) {
  return absl::StrJoin(actions, "; ", [](std::string* out, const ReceiveAction& action) {
    out->append(ToString(action));
  });
}

std::string ToString(const ReceiveMachine& machine) {
  std::string text = ToString(machine.segments_);
  for (size_t i = 0; i < machine.ports_.size(); ++i) {
    const ReceiveMachine::Port& port = machine.ports_[i];
    if (!port.used) continue;
    absl::StrAppend(&text, "port ", i, port.open ? "" : " closed", port.at_end ? " at its end" : "",
                    ", ", port.turn.reads_left, " reads left, ", ToString(port.assemblies),
                    ToString(port.held));
  }
  return text;
}

}  // namespace portproof
