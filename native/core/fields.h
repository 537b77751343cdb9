// Lists the fields of a struct once: the binding reads them from JavaScript in this order, and the contract test holds
// their names against typings/native.d.ts.
#pragma once

#include <tuple>

#define SN_FIELDS(...)                                     \
  static constexpr const char* field_names = #__VA_ARGS__; \
  auto fields() { return std::tie(__VA_ARGS__); }
