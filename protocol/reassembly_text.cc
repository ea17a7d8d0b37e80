#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/reassembly.h"

namespace portproof {
namespace {

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

bool HasSlot(Action::Kind kind) {
  return kind != Action::Kind::kDeliver && kind != Action::Kind::kRefuse;
}

bool IsStored(Action::Kind kind) {
  return kind == Action::Kind::kOpen || kind == Action::Kind::kAppend ||
         kind == Action::Kind::kFinish;
}

bool IsMessage(Action::Kind kind) {
  return kind == Action::Kind::kDeliver || kind == Action::Kind::kFinish;
}

struct EventText {
  std::string operator()(const Datagram& datagram) const {
    return absl::StrCat("datagram from ", datagram.sender, ": ", ToString(datagram.header), ", ",
                        datagram.payload_bytes, " bytes");
  }
  std::string operator()(const Refused& refused) const {
    return absl::StrCat("refused from ", refused.sender, ": stream ", refused.stream, ", ",
                        Text(Id(refused.rule)));
  }
  std::string operator()(const SenderDied& died) const {
    return absl::StrCat("sender ", died.sender, " died");
  }
  std::string operator()(const Closed&) const { return "closed"; }
  std::string operator()(const Cancelled& cancelled) const {
    return absl::StrCat("cancelled from ", cancelled.sender, ": stream ", cancelled.stream);
  }
};

}  // namespace

std::string_view Name(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::kDeliver:
      return "deliver";
    case Action::Kind::kOpen:
      return "open";
    case Action::Kind::kAppend:
      return "append";
    case Action::Kind::kFinish:
      return "finish";
    case Action::Kind::kRefuse:
      return "refuse";
    case Action::Kind::kDiscard:
      return "discard";
    case Action::Kind::kCancel:
      return "cancel";
    case Action::Kind::kDrop:
      return "drop";
  }
  return "";
}

std::string ToString(const ReassemblyEvent& event) { return std::visit(EventText(), event); }

std::string ToString(const Action& action) {
  std::string text(Name(action.kind));
  if (HasSlot(action.kind)) absl::StrAppend(&text, " slot ", action.slot);
  if (action.rule) absl::StrAppend(&text, " ", Text(Id(*action.rule)));
  if (IsStored(action.kind)) {
    absl::StrAppend(&text, " storage ", NameOf(action.storage, action.slab_bytes));
  }
  if (IsMessage(action.kind)) absl::StrAppend(&text, " ", ToString(action.header));
  absl::StrAppend(&text, " fragments ", action.fragments, " bytes ", action.payload_bytes);
  return text;
}

std::string ToString(const Actions& actions) {
  return absl::StrJoin(
      actions, "; ", [](std::string* out, const Action& action) { out->append(ToString(action)); });
}

// One line for the whole, one for each open assembly, by slot.
std::string ToString(const Reassembly& state) {
  std::string text = absl::StrCat(state.open(), " open, ", state.budget().bytes(), " bytes\n");
  std::vector<std::pair<uint32_t, std::string>> lines;
  state.table_.ForEach([&](const Reassembly::Entry& entry) {
    const Assembly& assembly = entry.assembly;
    lines.emplace_back(
        assembly.slot,
        absl::StrCat("slot ", assembly.slot, " sender ", state.OwnerOf(entry), " stream ",
                     static_cast<uint32_t>(entry.key), " type ", static_cast<int>(assembly.type),
                     assembly.last ? " last" : "", assembly.cancelled ? " cancelled" : "",
                     " fragments ", assembly.fragments, " bytes ", assembly.bytes, " room ",
                     assembly.room, "\n"));
  });
  std::sort(lines.begin(), lines.end());
  for (const auto& [slot, line] : lines) text += line;
  return text;
}

}  // namespace portproof
