// A lock that the system takes back when its holder ends, even by kill -9. Node has none.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "binding/call.h"
#include "binding/structs.h"

namespace sn::binding {
namespace {

// Any other failure than that somebody has the lock counts as "no locks there", and keeps nobody out: ENOLCK, ENOSYS,
// or EBADF on NFS, where flock becomes a lock on a range of bytes, which needs a descriptor that can be written; that
// of a folder never can.
Napi::Value try_lock(Args& args) {
  const int descriptor = checked_number<int>(args.number());
  if (fcntl(descriptor, F_GETFD) == -1) {
    throw Error(ErrorCode::option, "descriptor", "descriptor must be that of an open file or folder");
  }
  const bool is_taken = flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  return Napi::Boolean::New(args.env(), !is_taken);
}

}  // namespace

void expose_lock(Exports& exports) { exports.add<try_lock>("tryLock"); }

}  // namespace sn::binding
