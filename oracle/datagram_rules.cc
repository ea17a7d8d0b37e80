// What one datagram shows by itself: header, descriptors, size, references.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr uint32_t kPlainIovecsMax = 8;   // IOV-3: seven runs and the header
constexpr uint32_t kSmallIovecsMax = 13;  // a header and 12 bytes, each by itself
constexpr size_t kHeaderlessKept = 64;
constexpr uint64_t kReferencesMax = 79;  // IOV-3: runs of a datagram in shared mode

}  // namespace

void Checker::State::Count(const Datagram& datagram) {
  Counts& counts = datagram.tally->counts;
  const Event& event = *datagram.event;
  ++counts.datagrams;
  counts.bytes += event.size;
  if (event.fds > 0) ++counts.fd_datagrams;
  if (event.fds == 2) ++counts.two_fd_datagrams;
  if (datagram.header.mmap) {
    ++counts.mmap_datagrams;
    if (IsReadQueue(datagram)) ++counts.mmap_read_queue;
  }
}

void Checker::State::JudgeDatagram(Datagram& datagram) {
  const Event& event = *datagram.event;
  const auto decoded = DecodeHeader(event.data, options_.byte_order);
  if (decoded) {
    datagram.header = decoded->header;
    datagram.type = TypeOf(*options_.profile, decoded->header.type);
  }
  Count(datagram);
  if (event.size < kHeaderBytes) {
    Where where = datagram.where();
    where.has_stream = false;
    where.pid = datagram.process == nullptr ? kNoPid : datagram.process->pid;
    datagram.faulty |=
        findings_.Report(event.size == 0 ? Rule::kHdr8 : Rule::kHdr1, where,
                         absl::StrCat("datagram of ", event.size, " bytes, expected at least 16"));
    std::vector<int32_t>& headerless = datagram.port->headerless;
    if (!datagram.shape_only && headerless.size() < kHeaderlessKept)
      headerless.push_back(where.pid);
    // It may have been an announcement.
    if (event.fds > 0 && datagram.process != nullptr) partial_.insert(datagram.process->serial);
    return;
  }
  if (!decoded) return;  // the recorder cut even the header
  const bool all_zero =
      IsReadQueue(datagram) && event.size == kHeaderBytes && datagram.header.pid == 0;
  if (!decoded->flags_clean && !IsReadQueue(datagram)) {
    datagram.faulty |= findings_.Report(
        Rule::kHdr3, datagram.where(),
        absl::StrCat("flags last, mmap, nf, mf are ", event.data[11], ", ", event.data[12], ", ",
                     event.data[13], ", ", event.data[14], ", expected 0 or 1"));
  }
  if (!datagram.type) {
    datagram.faulty |=
        findings_.Report(Rule::kHdr4, datagram.where(),
                         absl::StrCat("type ", datagram.header.type, ", but the profile has ",
                                      options_.profile->types.size()));
  }
  if (!all_zero) JudgeIdentity(datagram);
  JudgeDescriptors(datagram);
  if (IsReadQueue(datagram)) {  // its flags are leftovers (SHM-1)
    ++datagram.tally->counts.messages;
    return;
  }
  JudgeSize(datagram);
  if (datagram.header.mmap) JudgeReferences(datagram);
  if (datagram.shape_only) return;
  JudgeStream(datagram);
  UseSegments(datagram);
}

void Checker::State::JudgeDescriptors(Datagram& datagram) {
  const Event& event = *datagram.event;
  const Profile& profile = *options_.profile;
  if (event.fds > profile.fds_max || event.rights > 1) {
    datagram.faulty |= findings_.Report(
        Rule::kFds2, datagram.where(),
        absl::StrCat(event.fds, " descriptors in ", event.rights,
                     " control messages, expected at most ", profile.fds_max, " in one"));
    return;
  }
  if (datagram.header.nf && event.fds > 0 && !IsReadQueue(datagram)) {
    datagram.faulty |= findings_.Report(
        Rule::kFds1, datagram.where(), absl::StrCat(event.fds, " descriptors on a later fragment"));
    return;
  }
  if (datagram.header.nf || !datagram.type || event.ctrl_truncated) return;
  const std::optional<FdNeeds> needs = NeedsOf(*datagram.type, profile);
  if (!needs || needs->Allow(event.fds)) return;
  std::string expected = absl::StrCat(needs->least);
  if (needs->most != needs->least)
    absl::StrAppend(&expected, needs->one_too ? " to " : " or ", needs->most);
  datagram.faulty |= findings_.Report(Rule::kFds6, datagram.where(),
                                      absl::StrCat(std::string(Name(*datagram.type)), " with ",
                                                   event.fds, " descriptors, expected ", expected));
}

void Checker::State::JudgeSize(Datagram& datagram) {
  const Event& event = *datagram.event;
  const uint32_t limit = PayloadLimit(*options_.profile, datagram.port->max_size);
  const uint64_t payload = datagram.payload_bytes();
  if (datagram.header.mmap) {
    const uint64_t tracking = Tracks(datagram.header) ? kTrackingBytes : 0;
    const uint64_t most = std::min<uint64_t>(kReferencesMax, (limit - tracking) / kReferenceBytes);
    if (payload <= tracking || (payload - tracking) / kReferenceBytes <= most) return;
    datagram.faulty |= findings_.Report(Rule::kIov3, datagram.where(),
                                        absl::StrCat((payload - tracking) / kReferenceBytes,
                                                     " references, expected at most ", most));
    return;
  }
  if (payload > limit) {
    datagram.faulty |=
        findings_.Report(Rule::kIov3, datagram.where(),
                         absl::StrCat("payload of ", payload, " bytes, expected at most ", limit));
    return;
  }
  // SHM-4: up to 12 bytes may be of a shared message, which keeps its run limit; each run has
  // a byte at least.
  const uint32_t most = payload > kReferenceBytes ? kPlainIovecsMax : kSmallIovecsMax;
  if (event.iov <= most) return;
  datagram.faulty |= findings_.Report(Rule::kIov3, datagram.where(),
                                      absl::StrCat(event.iov, " iovecs, expected at most ", most));
}

void Checker::State::JudgeReferences(Datagram& datagram) {
  const Event& event = *datagram.event;
  const bool tracking = Tracks(datagram.header);
  const uint64_t prefix = tracking ? kTrackingBytes : 0;
  const uint64_t payload = datagram.payload_bytes();
  references_.clear();
  if (payload <= prefix || (payload - prefix) % kReferenceBytes != 0) {
    datagram.faulty |= findings_.Report(Rule::kShm1, datagram.where(),
                                        absl::StrCat("mmap is set, but the payload of ", payload,
                                                     " bytes is not one or more references of 12",
                                                     tracking ? " after 8 bytes of tracking" : ""));
    return;
  }
  if (event.data.size() < event.size) return;  // the recorder cut them
  if (!DecodeReferences(event.data.subspan(kHeaderBytes), tracking, options_.byte_order,
                        references_))
    return;
  const Geometry geometry = GeometryOf(datagram.process);
  for (const Reference& reference : references_) {
    if (InRange(reference, geometry)) continue;
    datagram.faulty |= findings_.Report(
        Rule::kShm2, datagram.where(),
        absl::StrCat("reference to ", ToString(reference), " is outside a segment of ",
                     geometry.chunk_count, " chunks of ", geometry.chunk_bytes, " bytes"));
    references_.clear();
    return;
  }
  const std::optional<Overlap> overlap = FindOverlap(references_, geometry, scratch_);
  if (!overlap) return;
  datagram.faulty |=
      findings_.Report(Rule::kShm2, datagram.where(),
                       absl::StrCat("reference to ", ToString(references_[overlap->later]),
                                    " overlaps ", ToString(references_[overlap->earlier])));
}

}  // namespace portproof
