// The send machine in words, for the messages of tests and for stories.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/send_machine.h"

namespace portproof {
namespace {

using Kind = SendAction::Kind;

std::string ToText(const Reference& reference) { return absl::StrCat(" ", ToString(reference)); }

std::string ToText(const Tracking& tracking) {
  return absl::StrCat(" word ", tracking.tracking_id, " of segment ", tracking.mmap_id);
}

}  // namespace

std::string_view Name(WriteAnswer answer) {
  switch (answer) {
    case WriteAnswer::kAccepted:
      return "accepted";
    case WriteAnswer::kClosed:
      return "closed";
    case WriteAnswer::kFailed:
      return "failed";
    case WriteAnswer::kType:
      return "type";
    case WriteAnswer::kFds:
      return "fds";
    case WriteAnswer::kFragments:
      return "fragments";
    case WriteAnswer::kMessagesFull:
      return "messages full";
    case WriteAnswer::kBytesFull:
      return "bytes full";
    case WriteAnswer::kFdsFull:
      return "fds full";
    case WriteAnswer::kNoDescriptor:
      return "no descriptor";
    case WriteAnswer::kNoSegment:
      return "no segment";
  }
  return {};
}

std::string ToString(const SendAction& action) {
  switch (action.kind) {
    case Kind::kRefuse:
      return absl::StrCat("refuse: ", Name(action.answer).data());
    case Kind::kTrack:
      return absl::StrCat("track stream ", action.stream, ToText(action.tracking));
    case Kind::kUntrack:
      return absl::StrCat("untrack stream ", action.stream, ToText(action.tracking));
    case Kind::kCloseFd:
      return absl::StrCat("close fd ", action.fd);
    case Kind::kReleaseFd:
      return absl::StrCat("release fd ", action.fd);
    case Kind::kDuplicateFd:
      return absl::StrCat("duplicate fd ", action.fd);
    case Kind::kComplete:
      return absl::StrCat(action.ok ? "complete message " : "fail message ", action.message_id,
                          action.has_buffer ? absl::StrCat(" buffer ", action.buffer_id) : "",
                          " of writer ", action.writer);
    case Kind::kHandOver:
      return absl::StrCat("hand over", ToText(action.reference));
    case Kind::kTakeBack:
      return absl::StrCat("take back", ToText(action.reference));
    case Kind::kForget:
      return absl::StrCat("forget segment ", action.segment_id);
    case Kind::kArm:
      return "arm";
    case Kind::kDisarm:
      return "disarm";
    case Kind::kRetryLater:
      return absl::StrCat("retry in ", action.delay_ms, " ms");
    case Kind::kFlush:
      return "flush";
  }
  return {};
}

std::string ToString(const SendMachine& machine) {
  std::vector<const SendMachine::Message*> messages;
  for (const auto& message : machine.begun_) messages.push_back(&message);
  for (const auto& message : machine.unbegun_) messages.push_back(&message);
  std::sort(messages.begin(), messages.end(),
            [](const auto* a, const auto* b) { return a->place < b->place; });
  std::string text;
  for (const SendMachine::Message* const message : messages) {
    absl::StrAppend(&text, "message ", message->id, " stream ", message->header.stream, " type ",
                    static_cast<int>(message->header.type), message->begun ? " begun" : "",
                    " share ", message->share, " fds ", static_cast<int>(message->fd_count),
                    message->owns_fds ? " owned" : "", message->header.last ? " last" : "",
                    " reply ", message->header.reply_port, " writer ", message->writer,
                    message->announces ? absl::StrCat(" announces ", *message->announces) : "",
                    ":");
    for (size_t i = message->unsent.buffer_index; i < message->chain.size(); ++i) {
      absl::StrAppend(&text, " [", ToString(message->chain[i]), "]");
    }
    absl::StrAppend(&text, " from ", message->unsent.offset_bytes, "\n");
  }
  return absl::StrCat(text, "status ", static_cast<int>(machine.status_), " waiting ",
                      static_cast<int>(machine.waiting_), machine.armed_ ? " armed" : "", " retry ",
                      machine.retry_ms_, " bytes ", machine.queued_bytes_, " fds ",
                      machine.queued_fds_, " segments ", machine.announced_.size());
}

}  // namespace portproof
