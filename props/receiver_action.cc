#include "props/receiver_action.h"

#include <algorithm>

namespace portproof {
namespace {

void Put(std::string& bytes, uint32_t value, int width) {
  for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
}

// Few senders and streams, one of them preferred: so datagrams meet.
constexpr uint32_t kOftenZero[] = {0, 0, 1, 2};

int32_t SenderOf(std::span<const uint8_t> code) {
  return 101 + static_cast<int32_t>(kOftenZero[code[0] >> 4 & 3U]);
}

}  // namespace

void ReceiverActionReader::MakeHeader(std::span<const uint8_t> code, Wire& wire) const {
  const uint32_t sender = static_cast<uint32_t>(SenderOf(code));
  const uint32_t type_code = code[1] & 7U;
  const uint32_t type = type_code == 7 ? port_.type_count : type_code == 6 ? 4 : 3;
  const char flag = (code[3] & 15U) == 10 ? 2 : 1;
  Put(wire.bytes, kOftenZero[code[0] >> 6], 4);
  Put(wire.bytes, sender, 4);
  Put(wire.bytes, (code[3] >> 4 & 1U) != 0 ? 65535 : 0, 2);
  Put(wire.bytes, type, 1);
  wire.bytes.push_back((code[0] & 4U) != 0 ? flag : 0);
  wire.bytes.push_back((code[0] & 8U) != 0 ? flag : 0);
  wire.bytes.push_back((code[0] & 1U) != 0 ? flag : 0);
  wire.bytes.push_back((code[0] & 2U) != 0 ? flag : 0);
  Put(wire.bytes, code[3] >> 7, 1);
}

void ReceiverActionReader::MakeReferences(uint32_t content, size_t payload_bytes,
                                          Wire& wire) const {
  const bool tracking = port_.has_tracking && wire.bytes[15] != 0;
  if (tracking) Put(wire.bytes, 0, 4);
  if (tracking) Put(wire.bytes, static_cast<uint32_t>(payload_bytes) & 1U, 4);
  const uint32_t count = std::max<uint32_t>(1, static_cast<uint32_t>(payload_bytes) / 12);
  for (uint32_t i = 0; i < count; ++i) {
    Put(wire.bytes, content & 1U, 4);
    Put(wire.bytes, content == 13 ? 640 : content == 14 ? 7 : content + 2 * i, 4);
    Put(wire.bytes, content == 12 ? 0 : 16384 + i % 2, 4);
  }
}

void ReceiverActionReader::MakePayload(std::span<const uint8_t> code, Wire& wire) const {
  const size_t payload_bytes = code[2] % (port_.max_size + 2);
  const uint32_t content = code[3] >> 4;
  if ((code[0] & 8U) != 0 && content != 15) {
    MakeReferences(content, payload_bytes, wire);
    return;
  }
  const size_t begin = wire.bytes.size();
  wire.bytes.append(payload_bytes, static_cast<char>(content * 16));
  for (size_t i = 0; i < payload_bytes; i += 7) wire.bytes[begin + i] = static_cast<char>(i);
}

bool ReceiverActionReader::Next(ReceiverAction& action) {
  if (bytes_.size() < 4) return false;
  const std::span<const uint8_t> code = bytes_.first(4);
  bytes_ = bytes_.subspan(4);
  Wire& wire = action.wire;
  wire.bytes.clear();
  wire.fds.clear();
  action.sender = SenderOf(code);
  const uint32_t special = code[3] & 15U;
  const size_t short_bytes = code[2] % 16;
  action.kind = ReceiverAction::Kind::kDatagram;
  if (special == 14) {
    action.kind = ReceiverAction::Kind::kSenderDies;
    return true;
  }
  if (special == 15 && short_bytes == 15) {
    action.kind = ReceiverAction::Kind::kClose;
    return true;
  }
  MakeHeader(code, wire);
  MakePayload(code, wire);
  if (special == 15) wire.bytes.resize(short_bytes);
  const uint32_t fds_code = code[1] >> 3 & 7U;
  const uint32_t fds = fds_code < 5 ? 0 : fds_code - 4;
  for (uint32_t i = 0; i < fds; ++i) wire.fds.push_back(next_fd_++);
  wire.rights_messages = special == 11 ? 2 : fds > 0 ? 1 : 0;
  wire.truncated = special == 12;
  wire.control_truncated = special == 13;
  const uint32_t credentials = code[1] >> 6;
  wire.credentials_pid = credentials == 2   ? 0
                         : credentials == 3 ? 101 + (action.sender - 100) % 3
                                            : action.sender;
  return true;
}

}  // namespace portproof
