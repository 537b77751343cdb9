// A lock that the system takes back when its holder ends, even by kill -9. Node has none.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cmath>
#include <limits>

#include "binding/call.h"

namespace sn::binding {
namespace {

Napi::Value try_lock(Args& args) {
  const double number = args.number();
  const bool is_descriptor = number >= 0 && number <= std::numeric_limits<int>::max() && number == std::floor(number);
  const int descriptor = is_descriptor ? static_cast<int>(number) : -1;
  if (fcntl(descriptor, F_GETFD) == -1) {
    throw Error(ErrorCode::option, "descriptor", "descriptor must be that of an open file or folder");
  }
  const bool is_taken = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  return Napi::Boolean::New(args.env(), !is_taken);
}

}  // namespace

void expose_lock(Exports& exports) { exports.add<try_lock>("tryLock"); }

}  // namespace sn::binding
