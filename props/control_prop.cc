// Properties of admission, over every combination of what the kernel can give.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "props/machine_process.h"
#include "props/naive_process.h"
#include "props/wire.h"
#include "protocol/control.h"

namespace portproof {
namespace {

struct Given {
  size_t bytes;
  uint32_t fds, rights;
  bool truncated, control_truncated, nf;
  uint32_t type;
  int32_t credentials;
};

template <typename Visit>
void ForEverythingTheKernelCanGive(const Port& port, Visit visit) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{17},
                             size_t{port.max_size + 16}, size_t{port.max_size + 17}})
    for (uint32_t fds = 0; fds <= 4; ++fds)
      for (uint32_t rights = 0; rights <= 2; ++rights)
        for (const bool truncated : {false, true})
          for (const bool control_truncated : {false, true})
            for (const bool nf : {false, true})
              for (const uint32_t type : {0U, port.type_count - 1, port.type_count, 255U})
                for (const int32_t credentials : {0, 101, 102}) {
                  if ((fds == 0) != (rights == 0)) continue;
                  visit(Given{bytes, fds, rights, truncated, control_truncated, nf, type,
                              credentials});
                }
}

Wire WireOf(const Given& given, int& next_fd) {
  Wire wire;
  wire.bytes.assign(given.bytes, '\0');
  if (given.bytes >= 16) {
    wire.bytes[4] = 101;
    wire.bytes[10] = static_cast<char>(given.type);
    wire.bytes[13] = given.nf ? 1 : 0;
  }
  for (uint32_t i = 0; i < given.fds; ++i) wire.fds.push_back(next_fd++);
  wire.rights_messages = given.rights;
  wire.truncated = given.truncated;
  wire.control_truncated = given.control_truncated;
  wire.credentials_pid = given.credentials;
  return wire;
}

// FDS-1, FDS-2, FDS-4, FDS-5, FDS-7, RCV-1, HDR-1, HDR-4: the model agrees on the
// rule, and every descriptor is delivered or closed, exactly once.
TEST(ControlProp, EveryReceivedDescriptorIsAdoptedOrClosedExactlyOnce) {
  for (const Profile& profile : Profiles()) {
    const Port port = PortOf(profile);
    MachineProcess core(profile, port);
    NaiveProcess model(port);
    Outcome of_core;
    Outcome of_model;
    int next_fd = 0;
    ForEverythingTheKernelCanGive(port, [&](const Given& given) {
      const int first_fd = next_fd;
      const Wire wire = WireOf(given, next_fd);
      core.Receive(0, wire, of_core);
      model.Receive(0, wire, of_model);
      ASSERT_TRUE(SameOutcome(of_core, of_model))
          << profile.newest << " " << given.bytes << " bytes " << given.fds << " fds: " << of_core
          << "but " << of_model;
      std::vector<int> ends = of_core.closed;
      if (of_core.delivered) {
        const std::vector<int>& fds = of_core.message.fds;
        ends.insert(ends.end(), fds.begin(), fds.end());
      }
      ASSERT_EQ(ends.size(), given.fds);
      for (uint32_t i = 0; i < given.fds; ++i) ASSERT_EQ(ends[i], first_fd + static_cast<int>(i));
    });
  }
}

// FDS-2: whatever number the kernel passes; all of it is surplus.
TEST(ControlProp, AnyNumberOfDescriptorsBeyondTheProfilesIsRefusedWhole) {
  for (const Profile& profile : Profiles()) {
    for (uint32_t fds = 0; fds <= kKernelFdsMax; ++fds) {
      const Received received = {26, fds > 0 ? 1U : 0U, fds, false, false, 0};
      const Header header;
      const Admission admission =
          Admit(received, &header, Intake{&profile, 16384, HandledTypes::All()});
      ASSERT_EQ(admission.refused.has_value(), fds > profile.fds_max);
      ASSERT_EQ(admission.fds, fds > profile.fds_max ? Fate::kClose : Fate::kAdopt);
    }
  }
}

}  // namespace
}  // namespace portproof
