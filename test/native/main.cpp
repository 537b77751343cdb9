#include "check.h"

namespace sn::test {

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

static int failures_here = 0;

void fail(const char* file, int line, const std::string& what) {
  std::printf("  %s:%d: %s\n", file, line, what.c_str());
  ++failures_here;
}

}  // namespace sn::test

int main() {
  int passed = 0, failed = 0;
  for (const auto& test : sn::test::tests()) {
    sn::test::failures_here = 0;
    test.body();
    const bool good = sn::test::failures_here == 0;
    std::printf("%s %s\n", good ? "ok  " : "FAIL", test.name.c_str());
    ++(good ? passed : failed);
  }
  std::printf("native: %d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
