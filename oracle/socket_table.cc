#include "oracle/socket_table.h"

#include <algorithm>
#include <charconv>

#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof {
namespace {

// Could these be the first bytes of a port's datagram? Of sockets never seen to open.
bool LooksLikeHeader(std::span<const uint8_t> bytes, uint64_t size) {
  constexpr int32_t kPidMax = 1 << 22;
  if (size < kHeaderBytes) return false;
  const auto decoded = DecodeHeader(bytes);
  if (!decoded || !decoded->flags_clean) return false;
  const Header& header = decoded->header;
  return header.type < Profiles().back().types.size() && header.pid >= 0 && header.pid <= kPidMax &&
         (header.nf || header.mf || size <= (uint64_t{1} << 17));
}

}  // namespace

void SocketTable::Open(uint64_t inode, uint64_t peer) {
  sockets_[inode] = Socket{Kind::kPort, peer, 0};
  sockets_[peer] = Socket{Kind::kCandidate, inode, 0};
  recent_[peer % kRecentKept] = {};
}

void SocketTable::Clear() {
  sockets_.clear();
  recent_ = {};
}

bool SocketTable::IsPort(uint64_t inode, std::span<const uint8_t> bytes, uint64_t size) {
  Recent& recent = recent_[inode % kRecentKept];
  if (recent.inode == inode) return true;
  Socket& socket = sockets_[inode];
  if (socket.kind == Kind::kCandidate && LooksLikeHeader(bytes, size)) socket.kind = Kind::kPort;
  if (socket.kind != Kind::kPort) return false;
  const std::string_view name = Name(inode);
  recent.inode = inode;
  recent.name_size = name.copy(recent.name.data(), recent.name.size());
  return true;
}

bool SocketTable::IsKnownPort(uint64_t inode) const {
  const auto socket = sockets_.find(inode);
  return socket != sockets_.end() && socket->second.kind == Kind::kPort;
}

std::vector<uint64_t> SocketTable::Ports() const {
  std::vector<uint64_t> inodes;
  for (const auto& [inode, socket] : sockets_) {
    if (socket.kind == Kind::kPort) inodes.push_back(inode);
  }
  std::sort(inodes.begin(), inodes.end());
  return inodes;
}

uint64_t SocketTable::PeerOf(uint64_t inode) const {
  const auto socket = sockets_.find(inode);
  return socket == sockets_.end() ? 0 : socket->second.peer;
}

std::string_view SocketTable::Name(uint64_t inode) {
  const Recent& recent = recent_[inode % kRecentKept];
  if (recent.inode == inode) return {recent.name.data(), recent.name_size};
  const auto [end, error] = std::to_chars(name_.data(), name_.data() + name_.size(), inode);
  return {name_.data(), static_cast<size_t>(end - name_.data())};
}

bool SocketTable::TakeNothing(uint64_t inode) {
  Socket& socket = sockets_[inode];
  if (socket.zero_length == 0) return false;
  --socket.zero_length;
  return true;
}

}  // namespace portproof
