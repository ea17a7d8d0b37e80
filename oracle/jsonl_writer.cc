#include "oracle/jsonl_writer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "oracle/json_keys.h"

namespace portproof {
namespace {

constexpr double kMicrosecond = 1e6;

void AppendHex(std::span<const uint8_t> bytes, std::string& hex) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  hex.resize(bytes.size() * 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    hex[2 * i] = kDigits[bytes[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes[i] & 15];
  }
}

}  // namespace

JsonLinesWriter::JsonLinesWriter(std::function<void(std::string_view)> write, const TraceInfo& info)
    : write_(std::move(write)) {
  nlohmann::ordered_json first;
  first["portproof"] = 1;
  if (!info.profile.empty()) first["profile"] = info.profile;
  first["byte_order"] = info.byte_order == ByteOrder::kLittle ? "little" : "big";
  write_(first.dump() + "\n");
}

void JsonLinesWriter::OnEvent(const Event& event) {
  if (event.kind == EventKind::kDamage) return;
  nlohmann::ordered_json json;
  json["ev"] = kJsonEventNames[static_cast<size_t>(event.kind)];
  if (!event.port.empty()) json["port"] = event.port;
  if (event.time_us != kNoTime) json["time"] = static_cast<double>(event.time_us) / kMicrosecond;
  if (event.kind == EventKind::kOpen) {
    if (event.max_size != 0) json["max_size"] = event.max_size;
    if (event.max_share != 0) json["max_share"] = event.max_share;
    json["kind"] = event.dgram ? "dgram" : "seqpacket";
    write_(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    return;
  }
  if (event.pid != kNoPid) json["pid"] = event.pid;
  if (event.tid != kNoPid && event.kind != EventKind::kExit) json["tid"] = event.tid;
  if (event.kind == EventKind::kFail) json["errno"] = event.errno_name;
  if (event.kind == EventKind::kSend || event.kind == EventKind::kRecv) {
    AppendHex(event.data, hex_);
    json["data"] = hex_;
    if (event.zero_bytes != 0) json["data_zero"] = event.zero_bytes;
    if (!IsWhole(event)) json["size"] = event.size;
    if (event.fds != 0) json["fds"] = event.fds;
    if (event.rights != (event.fds > 0 ? 1 : 0)) json["rights"] = event.rights;
    if (event.iov != 0) json["iov"] = event.iov;
    if (event.segment_bytes != 0) json["segment_bytes"] = event.segment_bytes;
    if (event.cred_pid != kNoPid) json["cred_pid"] = event.cred_pid;
    if (event.killed) json["killed"] = true;
    if (event.truncated) json["flags"].push_back("trunc");
    if (event.ctrl_truncated) json["flags"].push_back("ctrunc");
  }
  write_(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace portproof
