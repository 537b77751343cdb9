// Lists of types that are chosen from by an index at run time: the angular functions and the margins.
#pragma once

#include "math/macros.h"

namespace sn {
namespace math {
SN_BEGIN_ISA

template <typename... Types>
struct TypeList {
  static constexpr int size = sizeof...(Types);
  static constexpr const char* names[] = {Types::name...};
};

template <typename Chosen>
struct Type {
  using type = Chosen;
};

// Calls function(Type<the type at that index>{}).
template <typename... Types, typename Function>
static inline void by_index(TypeList<Types...>, int index, Function&& function) {
  int i = 0;
  ((i++ == index ? function(Type<Types>{}) : void()), ...);
}

SN_END_ISA
}  // namespace math
}  // namespace sn
