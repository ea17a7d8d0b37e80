#include "oracle/jsonl_writer.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "oracle/json_keys.h"

namespace portproof {
namespace {

constexpr int64_t kSecondUs = 1000000;

template <typename Number>
void AppendNumber(Number number, std::string& line) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  line.append(digits, end);
}

// Names a key: the first is "ev", which stands already.
void AppendKey(std::string_view key, std::string& line) {
  line += ",\"";
  line += key;
  line += "\":";
}

template <typename Number>
void AppendField(std::string_view key, Number number, std::string& line) {
  AppendKey(key, line);
  AppendNumber(number, line);
}

void AppendText(std::string_view key, std::string_view text, std::string& line) {
  AppendKey(key, line);
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
  });
  if (plain) {
    line += '"';
    line += text;
    line += '"';
    return;
  }
  line += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Seconds, with as many decimals as there are.
void AppendTime(int64_t us, std::string& line) {
  AppendKey("time", line);
  uint64_t magnitude = static_cast<uint64_t>(us);
  if (us < 0) {
    line += '-';
    magnitude = 0 - magnitude;
  }
  AppendNumber(magnitude / kSecondUs, line);
  line += '.';
  uint64_t rest = magnitude % kSecondUs;
  uint64_t unit = kSecondUs / 10;
  do {
    line += static_cast<char>('0' + rest / unit);
    rest %= unit;
    unit /= 10;
  } while (rest != 0);
}

void AppendHex(std::span<const uint8_t> bytes, std::string& line) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const size_t begin = line.size();
  line.resize(begin + bytes.size() * 2);
  char* out = line.data() + begin;
  for (const uint8_t byte : bytes) {
    *out++ = kDigits[byte >> 4];
    *out++ = kDigits[byte & 15];
  }
}

void AppendDatagram(const Event& event, std::string& line) {
  AppendKey("data", line);
  line += '"';
  AppendHex(event.data, line);
  line += '"';
  if (event.zero_bytes != 0) AppendField("data_zero", event.zero_bytes, line);
  if (!IsWhole(event)) AppendField("size", event.size, line);
  if (event.fds != 0) AppendField("fds", event.fds, line);
  if (event.rights != (event.fds > 0 ? 1 : 0)) AppendField("rights", event.rights, line);
  if (event.iov != 0) AppendField("iov", event.iov, line);
  if (event.segment_bytes != 0) AppendField("segment_bytes", event.segment_bytes, line);
  if (event.cred_pid != kNoPid) AppendField("cred_pid", event.cred_pid, line);
  if (event.killed) line += ",\"killed\":true";
  if (event.pending != 0) AppendField("pending", event.pending, line);
  if (event.truncated || event.ctrl_truncated) {
    line += ",\"flags\":[";
    if (event.truncated) line += "\"trunc\"";
    if (event.truncated && event.ctrl_truncated) line += ',';
    if (event.ctrl_truncated) line += "\"ctrunc\"";
    line += ']';
  }
}

}  // namespace

JsonLinesWriter::JsonLinesWriter(std::function<void(std::string_view)> write, const TraceInfo& info)
    : write_(std::move(write)) {
  line_ = "{\"portproof\":1";
  if (!info.profile.empty()) AppendText("profile", info.profile, line_);
  AppendText("byte_order", info.byte_order == ByteOrder::kLittle ? "little" : "big", line_);
  line_ += "}\n";
  write_(line_);
}

void JsonLinesWriter::OnEvent(const Event& event) {
  if (event.kind == EventKind::kDamage) return;
  line_ = "{\"ev\":\"";
  line_ += kJsonEventNames[static_cast<size_t>(event.kind)];
  line_ += '"';
  if (!event.port.empty()) AppendText("port", event.port, line_);
  if (event.time_us != kNoTime) AppendTime(event.time_us, line_);
  if (event.kind == EventKind::kOpen) {
    if (event.max_size != 0) AppendField("max_size", event.max_size, line_);
    if (event.max_share != 0) AppendField("max_share", event.max_share, line_);
    AppendText("kind", event.dgram ? "dgram" : "seqpacket", line_);
  } else {
    if (event.pid != kNoPid) AppendField("pid", event.pid, line_);
    if (event.tid != kNoPid && event.kind != EventKind::kExit) {
      AppendField("tid", event.tid, line_);
    }
    if (event.kind == EventKind::kFail) AppendText("errno", event.errno_name, line_);
    if (event.kind == EventKind::kSend || event.kind == EventKind::kRecv) {
      AppendDatagram(event, line_);
    }
  }
  line_ += "}\n";
  write_(line_);
}

}  // namespace portproof
