// The sockets a recording names, and which of them are ports.
//   shapes    sockets by inode; a port is named after its receiving one
//   returns   IsPort: learns from the first bytes of what passes, where the socket was not
//             seen to open; Name: valid until the next call of Name
//   holds     a few words per socket; the ports last met and their names
//   rules     SOC-1: end 0 receives, end 1 sends
//   source    none
#ifndef PORTPROOF_ORACLE_SOCKET_TABLE_H_
#define PORTPROOF_ORACLE_SOCKET_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace portproof {

class SocketTable {
 public:
  // A socketpair: `inode` receives. Numbers come back.
  void Open(uint64_t inode, uint64_t peer);
  void Clear();

  // `size` bytes pass, of which `bytes` are known.
  bool IsPort(uint64_t inode, std::span<const uint8_t> bytes, uint64_t size);
  bool IsKnownPort(uint64_t inode) const;
  std::vector<uint64_t> Ports() const;    // known ones, in order
  uint64_t PeerOf(uint64_t inode) const;  // 0: not known
  std::string_view Name(uint64_t inode);

  // Datagrams of no bytes on their way: their receipt looks like the end.
  void SentNothing(uint64_t inode) { ++sockets_[inode].zero_length; }
  bool TakeNothing(uint64_t inode);  // false: none was

 private:
  enum class Kind : uint8_t { kCandidate, kPort };

  struct Socket {
    Kind kind = Kind::kCandidate;
    uint64_t peer = 0;
    uint32_t zero_length = 0;
  };

  static constexpr size_t kRecentKept = 16;
  struct Recent {
    uint64_t inode = UINT64_MAX;  // none: more digits than are read
    size_t name_size = 0;
    std::array<char, 24> name{};
  };

  absl::flat_hash_map<uint64_t, Socket> sockets_;
  std::array<Recent, kRecentKept> recent_{};  // a call's port is mostly among them
  std::array<char, 24> name_{};
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_SOCKET_TABLE_H_
