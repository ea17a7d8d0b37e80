// The receiver and the naive model beside it, given the same.
//   shapes    an action of a conversation (see receiver_action.h)
//   returns   Perform, Close: whether both said the same and hold as much; of_core() and
//             of_model() are what they said of it
//   holds     what the two hold; after Close nothing, and the pair may be used again
//   rules     FRG-1 ... FRG-10, RCV-1, RCV-5
//   source    none
#ifndef PORTPROOF_PROPS_RECEIVER_PAIR_H_
#define PORTPROOF_PROPS_RECEIVER_PAIR_H_

#include "props/core_receiver.h"
#include "props/receiver_action.h"
#include "props/reference_model.h"
#include "props/wire.h"
#include "protocol/profile.h"

namespace portproof {

class ReceiverPair {
 public:
  ReceiverPair(const Profile& profile, const Port& port) : core_(profile, port), model_(port) {}

  bool Perform(const ReceiverAction& action);
  bool Close();

  const CoreReceiver& core() const { return core_; }
  const Outcome& of_core() const { return of_core_; }
  const Outcome& of_model() const { return of_model_; }

 private:
  bool Agree() const;

  CoreReceiver core_;
  ReferenceModel model_;
  Outcome of_core_;  // cleared for each event
  Outcome of_model_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_RECEIVER_PAIR_H_
