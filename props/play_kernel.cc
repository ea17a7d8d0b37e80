// The model of the kernel's socket, and the wire: the part of Play below the shell.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "props/play.h"
#include "protocol/chunk.h"
#include "protocol/header.h"

namespace portproof {

using conversation::Answer;

// sendmmsg: what was taken, or, when nothing was, why.
Play::KernelAnswer Play::Send(uint8_t index, const SendPlan& plan) {
  Sender& sender = senders_[index];
  if (hung_up_) return {0, Answer::kPortError};
  const size_t room = setup_.capacity_datagrams() - socket_.size();
  size_t count = std::min(room, plan.datagrams().size());
  if (sender.script) {
    conversation::Script& script = *sender.script;
    if (script.taken == 0 && script.answer != Answer::kPartial) {
      Answer answer = script.answer;
      // The newest announcement may fail alone; a later one would leave a gap in the ids,
      // which to 1.18 are counted (section 6).
      const std::optional<uint32_t> announced = AnnouncedNext(sender, plan);
      if (answer == Answer::kMessageError && announced && *announced + 1 != sender.segments) {
        answer = Answer::kPortError;
      }
      sender.script.reset();
      return {0, answer};
    }
    if (script.answer == Answer::kPartial) {
      count = std::min<size_t>(count, script.taken + 1u);
      sender.script.reset();
    } else {
      count = std::min<size_t>(count, script.taken);
      script.taken = static_cast<uint8_t>(script.taken - count);
    }
  }
  if (count == 0) return {0, Answer::kWouldBlock};
  for (size_t i = 0; i < count; ++i) Take(index, plan, plan.datagrams()[i]);
  return {count, std::nullopt};
}

void Play::Take(uint8_t index, const SendPlan& plan, const PlannedDatagram& datagram) {
  Sender& sender = senders_[index];
  for (const auto& [id, message] : sender.laws.messages()) {
    const bool other = id + 1 != datagram.header.reply_port;
    if (other && message.begun && !message.finished && !message.failed) {
      reached_.insert("two streams interleaved");
    }
  }
  if (datagram.fd_count > 0) reached_.insert("fds");
  if (datagram.header.mmap) reached_.insert("shared memory");
  if (datagram.header.mf) reached_.insert("fragments");
  Tell(absl::StrCat("    leaves: ", ToString(datagram.header), ", ", datagram.payload_bytes,
                    " bytes"));
  sender.laws.Left(datagram, plan.RunsOf(datagram));
  WireDatagram wire;
  wire.sender = index;
  wire.pid = PlayPid(index);
  wire.iovecs = 1 + (datagram.mode == Mode::kShared ? 1 : datagram.run_count);
  const auto header = EncodeHeader(datagram.header, ByteOrder::kLittle);
  wire.bytes.assign(header.begin(), header.end());
  std::vector<Reference> references;
  for (const ByteRun& run : plan.RunsOf(datagram)) {
    if (datagram.mode == Mode::kShared) {
      references.push_back(ReferenceOf(run, kPlayChunkBytes));
      continue;
    }
    for (uint64_t i = 0; i < run.bytes; ++i) {
      wire.bytes += static_cast<char>(ByteAt(index, run.place + i));
    }
  }
  if (datagram.mode == Mode::kShared) {
    std::vector<uint8_t> payload;
    EncodeReferences(references, datagram.tracking, ByteOrder::kLittle, payload);
    wire.bytes.append(payload.begin(), payload.end());
  }
  for (size_t i = 0; i < datagram.fd_count; ++i) {
    wire.fds.push_back(static_cast<int>(datagram.fds[i]));
  }
  for (Recipient* const recipient : recipients_) recipient->Sent(wire);
  socket_.push_back(std::move(wire));
}

void Play::ReadOne() {
  const WireDatagram datagram = std::move(socket_.front());
  socket_.pop_front();
  Tell(absl::StrCat("    arrives from sender ", datagram.sender, ": ", datagram.bytes.size(),
                    " bytes"));
  for (Recipient* const recipient : recipients_) recipient->Arrived(datagram);
  const bool more = std::any_of(socket_.begin(), socket_.end(), [&](const WireDatagram& other) {
    return other.sender == datagram.sender;
  });
  if (!senders_[datagram.sender].dead || more) return;
  for (Recipient* const recipient : recipients_) recipient->AllOfDeadRead(datagram.pid);
}

}  // namespace portproof
