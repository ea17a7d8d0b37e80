#include "props/receiver_pair.h"

namespace portproof {

bool ReceiverPair::Perform(const ReceiverAction& action) {
  switch (action.kind) {
    case ReceiverAction::Kind::kDatagram:
      core_.Receive(action.wire, of_core_);
      model_.Receive(action.wire, of_model_);
      return Agree();
    case ReceiverAction::Kind::kSenderDies:
      core_.SenderDied(action.sender, of_core_);
      model_.SenderDied(action.sender, of_model_);
      return Agree();
    case ReceiverAction::Kind::kClose:
      return Close();
  }
  return false;
}

bool ReceiverPair::Close() {
  core_.Close(of_core_);
  model_.Close(of_model_);
  return Agree();
}

bool ReceiverPair::Agree() const {
  return SameOutcome(of_core_, of_model_) && core_.state().open() == model_.open() &&
         core_.state().budget().bytes() == model_.bytes();
}

}  // namespace portproof
