#include "protocol/rule.h"

#include <algorithm>
#include <array>

namespace portproof {
namespace {

using enum Rule;
using enum Level;
using enum Bound;

constexpr std::array<RuleInfo, kRuleCount> kRules = {{
    {kHdr1, "HDR-1", kMust, kBoth,
     "A datagram holds at least 16 bytes; one of 1 to 15 is refused and its "
     "descriptors are closed."},
    {kHdr2, "HDR-2", kMust, kBoth, "Integers are in the byte order of the machine."},
    {kHdr3, "HDR-3", kMust, kBoth,
     "last, mmap, nf and mf are sent as 0 or 1; a receiver takes any non-zero "
     "value as 1."},
    {kHdr4, "HDR-4", kMust, kBoth,
     "The type is below the profile's count; another type, or one without a "
     "handler, is refused and its descriptors are closed."},
    {kHdr5, "HDR-5", kMust, kBoth,
     "Byte 15 is never judged where it is padding; a sender writes 0."},
    {kHdr6, "HDR-6", kMust, kSender,
     "The header's pid is the sending process as that process knows itself; "
     "whoami, process_created and read_queue are exempt."},
    {kHdr7, "HDR-7", kShould, kBoth,
     "The pid the kernel supplies, where it is not 0, is the sender's "
     "identity; a header that says otherwise is reported."},
    {kHdr8, "HDR-8", kMust, kReceiver,
     "A datagram of zero bytes is not end-of-file: it is refused, its "
     "descriptors are closed, reading goes on."},
    {kHdr9, "HDR-9", kMust, kSender,
     "No uninitialised byte is sent, padding of header and control data "
     "included."},
    {kIov1, "IOV-1", kMust, kSender,
     "The payloads of a message's datagrams, joined, are the bytes of its "
     "chain: none lost, none twice, none moved."},
    {kIov2, "IOV-2", kMust, kSender,
     "Buffers adjacent in memory merge into one run; others never do."},
    {kIov3, "IOV-3", kMust, kSender,
     "A datagram's payload is within the payload limit and the run limit."},
    {kIov4, "IOV-4", kMust, kSender,
     "A plain datagram that is not the last of its message is full."},
    {kIov5, "IOV-5", kMust, kSender, "mf is 1 exactly when bytes remain after this datagram."},
    {kIov6, "IOV-6", kMust, kSender,
     "The final datagram carries last exactly when the LAST flag was given or "
     "a sync buffer is marked; once set it stays set."},
    {kIov7, "IOV-7", kMust, kSender, "A chain without bytes is one datagram of 16 bytes."},
    {kSnd1, "SND-1", kMust, kSender,
     "A written message leaves at once, at the writer's next flush, or is "
     "appended; the write answers accepted or refused."},
    {kSnd2, "SND-2", kMust, kSender,
     "After EAGAIN the message keeps its place and the write event is armed; "
     "after a busy kernel the sender asks to be called again; EINTR repeats."},
    {kSnd3, "SND-3", kMust, kSender,
     "Datagrams are atomic: a short count is an error, not progress."},
    {kSnd4, "SND-4", kMust, kSender,
     "Another error fails an unbegun message alone, and the port if the "
     "message had begun; a dead peer fails the port."},
    {kSnd5, "SND-5", kMust, kSender,
     "A message that has used up its share goes to the end of the queue before "
     "it goes on."},
    {kSnd6, "SND-6", kMust, kSender,
     "Messages begin in the order written, and none while another of its "
     "stream is unfinished."},
    {kSnd7, "SND-7", kMust, kSender,
     "While anything is queued, a sender runs, the write event is armed, or a "
     "retry is asked for."},
    {kSnd8, "SND-8", kMust, kSender,
     "Descriptors go only with the first datagram; borrowed ones of a waiting "
     "message are duplicated."},
    {kSnd9, "SND-9", kMust, kSender,
     "Descriptors given with CLOSE_FD are closed once; others are never "
     "closed."},
    {kSnd10, "SND-10", kMust, kSender, "SIGPIPE is not raised."},
    {kSnd11, "SND-11", kMust, kSender,
     "Port parameters are checked when a port is made or adopted."},
    {kSnd12, "SND-12", kMust, kSender,
     "The queue is bounded in messages, bytes and descriptors; a write beyond "
     "a bound is refused whole."},
    {kSnd13, "SND-13", kMust, kSender,
     "A writer on another thread wakes the one that watches the socket, once, "
     "when the write event must be armed."},
    {kCmp1, "CMP-1", kMust, kSender, "Each buffer of an accepted message completes exactly once."},
    {kCmp2, "CMP-2", kMust, kSender,
     "Completions stand in chain order within a message, and in the order the "
     "datagrams left between messages."},
    {kCmp3, "CMP-3", kMust, kSender,
     "No buffer completes before the kernel accepted the datagram with its "
     "last byte."},
    {kCmp4, "CMP-4", kMust, kSender,
     "Completions are handed back as data, never run from inside the write of "
     "the same message."},
    {kCmp5, "CMP-5", kMust, kSender,
     "On failure or teardown the rest completes with the failure, in queue "
     "order, sync buffers too."},
    {kCmp6, "CMP-6", kMust, kSender,
     "A completion is handed to the writer that wrote the message."},
    {kFrg1, "FRG-1", kMust, kBoth,
     "No second first fragment for an open key; the duplicate is refused whole "
     "and the open assembly is unaffected."},
    {kFrg2, "FRG-2", kMust, kBoth, "No later fragment without an open assembly."},
    {kFrg3, "FRG-3", kMust, kBoth,
     "All fragments repeat stream, pid, reply_port and type of the first; last "
     "may go from 0 to 1, never back."},
    {kFrg4, "FRG-4", kMust, kReceiver,
     "A message is delivered exactly once, when its final fragment arrives, "
     "with the first header, all payload, and last as the OR of all."},
    {kFrg5, "FRG-5", kMust, kSender,
     "Each begun message is finished, unless its sender dies or its port fails "
     "or is closed."},
    {kFrg6, "FRG-6", kShould, kSender,
     "No unfragmented datagram of a key while its assembly is open."},
    {kFrg7, "FRG-7", kShould, kBoth, "No fragment with an empty payload."},
    {kFrg8, "FRG-8", kMust, kReceiver,
     "Open assemblies and their bytes are bounded, one sender has at most half "
     "of what the others leave free, and memory held is a stated function of "
     "the limits."},
    {kFrg9, "FRG-9", kMust, kReceiver,
     "A sender's death and the port's closing discard its assemblies: "
     "descriptors closed, chunks released, nothing delivered."},
    {kFrg10, "FRG-10", kMust, kBoth,
     "A receiver that takes no fragments refuses them; a sender never "
     "fragments to it."},
    {kRcv1, "RCV-1", kMust, kReceiver,
     "Truncated payload or control data is an error: refused, descriptors "
     "closed, the assembly of its key discarded."},
    {kRcv2, "RCV-2", kMust, kReceiver,
     "No bytes a peer can send make the receiver abort, hang, read out of "
     "bounds or allocate without bound."},
    {kRcv3, "RCV-3", kMust, kReceiver,
     "The handler runs once per message; what it does not take is taken back."},
    {kRcv4, "RCV-4", kMust, kReceiver, "At most a stated number of datagrams is read per turn."},
    {kRcv5, "RCV-5", kMust, kReceiver,
     "A refusal changes nothing but what its rule says, is counted by rule and "
     "told to an observer."},
    {kRcv6, "RCV-6", kMust, kReceiver,
     "EAGAIN ends a turn, EINTR repeats, a busy kernel asks for a retry, "
     "ECONNRESET is skipped; another error ends the receive end once."},
    {kRcv7, "RCV-7", kMust, kReceiver, "A turn that stops before the socket is empty says so."},
    {kShm1, "SHM-1", kMust, kBoth,
     "With mmap set the payload is one or more references of 12 bytes, after 8 "
     "bytes of tracking where the header says so."},
    {kShm2, "SHM-2", kMust, kBoth,
     "Each reference has an id that a segment can have and a non-empty range "
     "of its chunks, busy and without overlap."},
    {kShm3, "SHM-3", kMust, kSender,
     "Shared or plain is chosen once per message, before its first datagram."},
    {kShm4, "SHM-4", kMust, kSender,
     "A datagram that would carry 12 payload bytes or fewer goes plain."},
    {kShm5, "SHM-5", kMust, kSender, "mmap is set per datagram from what it carries."},
    {kShm6, "SHM-6", kMust, kBoth, "A chunk has one owner at a time and is freed exactly once."},
    {kShm7, "SHM-7", kMust, kSender,
     "Allocation yields consecutive chunks, lowest start first, or fails."},
    {kShm8, "SHM-8", kMust, kReceiver,
     "An announcement is one descriptor of exactly the segment's size, from "
     "the segment's own source, with an id not mapped yet."},
    {kShm9, "SHM-9", kMust, kReceiver,
     "Values in shared memory are copied, then checked, then used."},
    {kShm10, "SHM-10", kMust, kBoth,
     "A segment's announcement is sent before any reference to it (to 1.18, "
     "else refused); from 1.19 the receiver holds the message and asks."},
    {kShm11, "SHM-11", kShould, kSender,
     "A run of adjacent, completely filled buffers is one reference, at most "
     "79 in a datagram."},
    {kShm12, "SHM-12", kMust, kBoth,
     "Out of shared memory is told by oosm and answered by shm_ack."},
    {kShm13, "SHM-13", kMust, kReceiver,
     "A chunk the handler took keeps its segment mapped until it is released."},
    {kShm14, "SHM-14", kMust, kReceiver,
     "A tracked message is taken by compare-and-swap of its stream to 0; where "
     "that fails it was cancelled, and is dropped with all its fragments."},
    {kShm15, "SHM-15", kMust, kSender,
     "A tracking word is set before the first datagram is sent, cancelled by "
     "the receiver's compare-and-swap, and lies within the segment's header."},
    {kFds1, "FDS-1", kMust, kBoth,
     "Descriptors travel only with a first fragment or an unfragmented "
     "datagram."},
    {kFds2, "FDS-2", kMust, kBoth,
     "At most 1 descriptor (to 1.18) or 2 (from 1.19), in one SCM_RIGHTS "
     "control message; surplus is closed and refused."},
    {kFds3, "FDS-3", kMust, kReceiver,
     "Received descriptors are close-on-exec from the first moment."},
    {kFds4, "FDS-4", kMust, kReceiver, "No SCM_RIGHTS in this datagram means no descriptor."},
    {kFds5, "FDS-5", kMust, kReceiver,
     "Every received descriptor ends in one place: the handler took it, or it "
     "was closed."},
    {kFds6, "FDS-6", kMust, kSender,
     "A message of a type that needs descriptors carries as many as that type "
     "says."},
    {kFds7, "FDS-7", kMust, kReceiver,
     "Having no free descriptor slots is RCV-1, not a message without "
     "descriptors."},
    {kSoc1, "SOC-1", kMust, kBoth,
     "Ports are AF_UNIX SOCK_SEQPACKET or SOCK_DGRAM pairs, non-blocking and "
     "close-on-exec."},
    {kSoc2, "SOC-2", kMust, kBoth,
     "SO_SNDBUF is raised to MAX, SO_RCVBUF to four times the result; MAX "
     "becomes the largest that fits."},
    {kSoc3, "SOC-3", kMust, kBoth,
     "A datagram is delivered once, unchanged in bytes and descriptors, in "
     "order per sending thread."},
    {kSoc4, "SOC-4", kMust, kReceiver,
     "Credentials are requested by the receiver (1.26 and later), never "
     "attached by the sender."},
    {kSoc5, "SOC-5", kMust, kBoth, "Every send and receive passes MSG_DONTWAIT."},
    {kPrt1, "PRT-1", kMust, kBoth,
     "A port end is created in a pair or adopted, checked, and closed on its "
     "own; after fork it is adopted anew."},
    {kPrt2, "PRT-2", kMust, kBoth,
     "Closing is allowed with messages queued and assemblies open, and from "
     "inside a handler or completion."},
}};

constexpr bool InOrder() {
  for (size_t i = 0; i < kRules.size(); ++i) {
    if (static_cast<size_t>(kRules[i].rule) != i) return false;
  }
  return true;
}
static_assert(InOrder(), "a row per rule, in the order of the enum");

}  // namespace

const RuleInfo& Info(Rule rule) { return kRules[static_cast<size_t>(rule)]; }

std::optional<Rule> FindRule(std::string_view id) {
  const auto row = std::find_if(kRules.begin(), kRules.end(),
                                [id](const RuleInfo& info) { return info.id == id; });
  if (row == kRules.end()) return std::nullopt;
  return row->rule;
}

std::string_view Name(Level level) {
  switch (level) {
    case kMust:
      return "MUST";
    case kShould:
      return "SHOULD";
  }
  return "";
}

std::string_view Name(Bound bound) {
  switch (bound) {
    case kSender:
      return "sender";
    case kReceiver:
      return "receiver";
    case kBoth:
      return "both";
  }
  return "";
}

}  // namespace portproof
