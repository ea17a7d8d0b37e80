// A datagram the runner sends, put together field by field: Datagram(9).Mf().Bytes(100).
//   shapes    a header, a payload, how many descriptors; then bytes patched or cut off, for
//             what no encoder would write
//   returns   Bytes() of the wire. `about` is the rule that a wrong reaction to this very
//             datagram breaks, where it is another than the model would name
//   holds     values
//   rules     HDR-2
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_DATAGRAM_H_
#define PORTPROOF_ORACLE_SUITE_DATAGRAM_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "oracle/suite/pattern.h"
#include "protocol/header.h"
#include "protocol/rule.h"

namespace portproof::suite {

class Datagram {
 public:
  explicit Datagram(uint32_t stream) { header_.stream = stream; }

  Datagram& Type(uint8_t type) {
    header_.type = type;
    typed_ = true;
    return *this;
  }
  Datagram& Pid(int32_t pid) {
    header_.pid = pid;
    return *this;
  }
  Datagram& Reply(uint16_t port) {
    header_.reply_port = port;
    return *this;
  }
  Datagram& Last() {
    header_.last = true;
    return *this;
  }
  Datagram& Mmap() {
    header_.mmap = true;
    return *this;
  }
  Datagram& Nf() {
    header_.nf = true;
    return *this;
  }
  Datagram& Mf() {
    header_.mf = true;
    return *this;
  }
  Datagram& Byte15(uint8_t byte) {
    header_.byte15 = byte;
    return *this;
  }
  Datagram& Bytes(size_t bytes, uint64_t seed = 1) {
    payload_ = Pattern(seed, bytes);
    return *this;
  }
  Datagram& Payload(std::vector<uint8_t> payload) {
    payload_ = std::move(payload);
    return *this;
  }
  Datagram& Fds(size_t count) {
    fds_ = count;
    return *this;
  }
  Datagram& Patch(size_t offset, uint8_t byte) {
    patches_.emplace_back(offset, byte);
    return *this;
  }
  Datagram& Cut(size_t bytes) {
    cut_ = bytes;
    return *this;
  }
  Datagram& About(Rule rule) {
    about_ = rule;
    return *this;
  }
  // These very files instead of new ones; they stay the caller's.
  Datagram& FdsOf(std::vector<int> fds) {
    given_fds_ = std::move(fds);
    return *this;
  }

  const Header& header() const { return header_; }
  bool typed() const { return typed_; }
  size_t fds() const { return fds_; }
  const std::vector<int>& given_fds() const { return given_fds_; }
  std::optional<Rule> about() const { return about_; }

  std::vector<uint8_t> Wire() const {
    const auto head = EncodeHeader(header_);
    std::vector<uint8_t> bytes(head.begin(), head.end());
    bytes.insert(bytes.end(), payload_.begin(), payload_.end());
    for (const auto& [offset, byte] : patches_) bytes[offset] = byte;
    if (cut_) bytes.resize(*cut_);
    return bytes;
  }

 private:
  Header header_ = {};
  bool typed_ = false;
  std::vector<uint8_t> payload_;
  size_t fds_ = 0;
  std::vector<int> given_fds_;
  std::vector<std::pair<size_t, uint8_t>> patches_;
  std::optional<size_t> cut_;
  std::optional<Rule> about_;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_DATAGRAM_H_
