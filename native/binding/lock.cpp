// A lock that the system takes back when its holder ends, even by kill -9. Node has none.
#include <sys/file.h>

#include <cerrno>

#include "binding/call.h"

namespace sn::binding {
namespace {

Napi::Value try_lock(Args& args) {
  const int descriptor = static_cast<int>(args.number());
  const bool is_taken = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  return Napi::Boolean::New(args.env(), !is_taken);
}

}  // namespace

void expose_lock(Napi::Env env, Napi::Object& exports) { expose<try_lock>(env, exports, "tryLock"); }

}  // namespace sn::binding
