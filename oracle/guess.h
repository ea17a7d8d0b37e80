// Which releases speak like this: the profile guessed from the traffic.
//   shapes    Add: every event; Guess: the row that explains the datagrams best
//   returns   a guess always, and the other rows that explain the datagrams as well; `weak`
//             where nothing telling was seen (no new_port, mmap or remove_pid), or where a row
//             that explains them almost as well gives a type that was seen another name
//   holds     a few numbers per type, and the processes that sent and received each
//   rules     the tables of profiles, and what each type looks like. Ties go to the newest
//             row, of which no finding depends on the choice: it has the most types, and the
//             smaller limit only where no larger payload was seen. unit-0.2 wins over
//             0.3 - 0.7, which look the same
//   source    none
#ifndef PORTPROOF_ORACLE_GUESS_H_
#define PORTPROOF_ORACLE_GUESS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "oracle/trace.h"
#include "protocol/profile.h"

namespace portproof {

struct ProfileGuess {
  const Profile* profile = nullptr;
  std::string why;                   // "types, two fds, credentials"
  std::vector<const Profile*> also;  // explain the datagrams as well as `profile`
  bool weak = false;
};

class ProfileEvidence {
 public:
  explicit ProfileEvidence(ByteOrder order) : order_(order) {}
  void Add(const Event& event);
  uint64_t datagrams() const { return datagrams_; }
  ProfileGuess Guess() const;

 private:
  struct Shape {  // of the datagrams of one type number
    uint64_t count = 0;
    uint64_t like_new_port = 0;
    uint64_t like_mmap = 0;
    uint64_t like_remove_pid = 0;
    uint64_t like_modules = 0;
    uint64_t empty = 0;
    uint64_t eight_bytes = 0;
    uint64_t four_bytes = 0;
    uint64_t at_most_one_byte = 0;
    uint64_t references = 0;  // mmap is set, and there is a payload
    uint64_t without_fd = 0;  // of those that may have one
    uint64_t with_one_fd = 0;
    absl::flat_hash_set<int32_t> senders;
    absl::flat_hash_set<int32_t> receivers;
    // Some process sends it and receives it.
    bool BothWays() const;
  };
  uint64_t Penalty(const Profile& profile) const;
  uint64_t PenaltyOfTypes(const Profile& profile) const;
  uint64_t PenaltyOfShapes(const Profile& profile) const;
  uint64_t PenaltyOfRoles(const Profile& profile) const;
  bool NamesAlike(const Profile& a, const Profile& b) const;
  const Shape& ShapeOf(const Profile& profile, Type type) const;
  uint64_t PenaltyOfBytes(const Profile& profile) const;

  ByteOrder order_;
  std::array<Shape, 256> shapes_{};
  uint64_t datagrams_ = 0;
  uint64_t receives_ = 0;
  uint64_t credentials_ = 0;
  uint64_t one_fd_ = 0;
  uint64_t two_fds_ = 0;
  uint64_t long_payloads_ = 0;  // more than 16368 bytes
  uint64_t full_at_16368_ = 0;  // fragments that more follow
  uint64_t byte15_odd_ = 0;     // neither 0 nor 1
  uint64_t byte15_set_ = 0;
  uint64_t tracked_references_ = 0;  // mmap, byte 15 is 1, payload 8 mod 12
  uint64_t odd_references_ = 0;      // mmap, payload neither 0 nor (with byte 15 = 1) 8 mod 12
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_GUESS_H_
