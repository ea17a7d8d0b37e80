// One sender of a conversation, in its own process, with one thread or more.
//   shapes    the actions of a conversation that are its own; its log gets a line for
//             each message: "W thread stream type last bytes hash fds id buffers", for the
//             answer: "A thread id" or "R thread id", accepted or refused, and for each
//             completion: "C thread id buffer ok"; "X" and what is wrong at the end
//   returns   when everything is sent, or the port failed
//   holds     buffers until they complete; a segment
//   rules     see real_port.h
//   source    none
#ifndef PORTPROOF_PROPS_REAL_WRITER_H_
#define PORTPROOF_PROPS_REAL_WRITER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "port/owned_fd.h"
#include "port/socket_pair.h"
#include "props/real_port.h"
#include "props/trace_kernel.h"

namespace portproof {

struct WriterTask {
  const RealRun& run;
  uint8_t index = 0;
  int socket = -1;  // closed when all is sent
  PortSizes sizes;
  SharedLog& log;
  std::atomic<uint64_t>& sequence;
  std::atomic<uint32_t>& reader_state;
  Bell& bell;  // rings when a state has changed
};

// States in the flag of a writer's log.
inline constexpr uint32_t kWriting = 0;
inline constexpr uint32_t kBlocked = 1;  // or nothing left to write: a stopped reader may go on
inline constexpr uint32_t kSent = 2;     // or failed

// States in the flag of the reader's.
inline constexpr uint32_t kReading = 0;
inline constexpr uint32_t kWritersDone = 1;
inline constexpr uint32_t kEndedWell = 2;  // it has read all
inline constexpr uint32_t kEndedEarly = 3;

void RunWriter(const WriterTask& task);

const Profile& RealProfile(const conversation::Setup& setup);
uint64_t HashOf(std::string_view bytes);
size_t CountDescriptors();

}  // namespace portproof

#endif  // PORTPROOF_PROPS_REAL_WRITER_H_
