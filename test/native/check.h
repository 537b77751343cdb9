// The smallest test harness: named tests, a count at the end. Run by scripts/test.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace sn::test {

struct Test {
  std::string name;
  std::function<void()> body;
};

std::vector<Test>& tests();
void fail(const char* file, int line, const std::string& what);

struct Registration {
  Registration(const char* name, std::function<void()> body) { tests().push_back({name, std::move(body)}); }
};

#define SN_TEST(identifier, name)                                                \
  static void identifier();                                                      \
  static const ::sn::test::Registration register_##identifier(name, identifier); \
  static void identifier()

#define SN_CHECK(condition)                                             \
  do {                                                                  \
    if (!(condition)) ::sn::test::fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define SN_CHECK_BELOW(value, bound)                                                                                 \
  do {                                                                                                               \
    const double value_ = (value);                                                                                   \
    if (!(value_ < (bound)))                                                                                         \
      ::sn::test::fail(__FILE__, __LINE__, std::string(#value " is ") + std::to_string(value_) + ", bound " #bound); \
  } while (false)

}  // namespace sn::test
