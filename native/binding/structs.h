// How parameters are read from the arguments of a call, by their types alone. A struct (core/options.h) takes one
// argument for each tensor in it, in the order of its fields, and then, where it has numbers, one array that packs them
// all. An absent optional struct has null in place of its tensors.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "binding/args.h"

namespace sn::binding {

template <typename T, typename = void>
struct is_struct : std::false_type {};
template <typename T>
struct is_struct<T, std::void_t<decltype(T::field_names)>> : std::true_type {};

template <typename T>
struct is_optional : std::false_type {};
template <typename T>
struct is_optional<std::optional<T>> : std::true_type {};

template <typename T>
constexpr bool is_number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// Calls visit(field) for each field.
template <typename Struct, typename Visit>
void for_each_field(Struct& value, Visit&& visit) {
  std::apply([&](auto&... field) { (visit(field), ...); }, value.fields());
}

// Tensors and numbers of a struct, those of the structs within it included.
struct FieldCounts {
  std::size_t tensors = 0, numbers = 0;
};
template <typename T>
constexpr FieldCounts count_fields();
template <typename... Fields>
constexpr FieldCounts count_tuple(std::tuple<Fields&...>*) {
  FieldCounts sum;
  ((sum.tensors += count_fields<Fields>().tensors, sum.numbers += count_fields<Fields>().numbers), ...);
  return sum;
}
template <typename T>
constexpr FieldCounts count_fields() {
  if constexpr (is_optional<T>::value) {
    return count_fields<typename T::value_type>();
  } else if constexpr (is_struct<T>::value) {
    return count_tuple(static_cast<decltype(std::declval<T&>().fields())*>(nullptr));
  } else if constexpr (is_number<T>) {
    return {0, 1};
  } else {
    static_assert(std::is_base_of_v<Tensor, T>, "a field is a tensor, a number or a struct of them");
    return {1, 0};
  }
}

template <typename T>
void read_tensors(Args& args, T& field) {
  if constexpr (is_optional<T>::value) {
    using Struct = typename T::value_type;
    if (args.is_absent()) return args.skip_absent(count_fields<Struct>().tensors);
    read_tensors(args, field.emplace());
  } else if constexpr (is_struct<T>::value) {
    for_each_field(field, [&](auto& inner) { read_tensors(args, inner); });
  } else if constexpr (std::is_same_v<T, Tensor>) {
    field = args.tensor();
  } else if constexpr (std::is_same_v<T, OptionalTensor>) {
    field = args.optional_tensor();
  }
}

// How many codes an enumeration has.
constexpr int count_codes(Angular) { return math::AngularFunctions<float>::size; }
constexpr int count_codes(Margin) { return math::MarginFunctions::size; }
constexpr int count_codes(Positive) { return static_cast<int>(std::size(positive_names)); }

// A number of JavaScript as a field or a parameter.
template <typename T>
T checked_number(double number) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(number);
  } else {
    constexpr double most_integer = 0x1p53;  // JavaScript's
    double least = 0, most = 1;
    if constexpr (std::is_enum_v<T>) {
      most = count_codes(T{}) - 1;
    } else if constexpr (!std::is_same_v<T, bool>) {
      least = std::max(static_cast<double>(std::numeric_limits<T>::min()), -most_integer);
      most = std::min(static_cast<double>(std::numeric_limits<T>::max()), most_integer);
    }
    if (!(number >= least && number <= most && number == std::trunc(number))) {
      throw Error(ErrorCode::option, "number",
                  "a native call takes a whole number from " + std::to_string(least) + " to " + std::to_string(most) +
                      ", but got " + std::to_string(number));
    }
    return static_cast<T>(number);
  }
}

template <typename T>
void read_numbers(const double*& next, T& field) {
  if constexpr (is_optional<T>::value) {
    if (!field) {
      next += count_fields<T>().numbers;
    } else {
      read_numbers(next, *field);
    }
  } else if constexpr (is_struct<T>::value) {
    for_each_field(field, [&](auto& inner) { read_numbers(next, inner); });
  } else if constexpr (is_number<T>) {
    field = checked_number<T>(*next++);
  }
}

// The numbers that operators divide by, or count loops with.
inline void require_usable(const Window& window) {
  const int steps[] = {window.kernel_h, window.kernel_w,   window.stride_h,
                       window.stride_w, window.dilation_h, window.dilation_w};
  const bool usable =
      *std::min_element(std::begin(steps), std::end(steps)) > 0 && window.padding_h >= 0 && window.padding_w >= 0;
  if (!usable) {
    throw Error(ErrorCode::option, "window", "kernel, stride and dilation must be positive, and padding not negative");
  }
}
inline void require_usable(const ConvGeometry& geometry) {
  require_usable(static_cast<const Window&>(geometry));
  if (geometry.groups <= 0) throw Error(ErrorCode::option, "groups", "groups must be positive");
}

template <typename Struct>
void read_struct(Args& args, Struct& value) {
  read_tensors(args, value);
  constexpr std::size_t numbers = count_fields<Struct>().numbers;
  if constexpr (numbers > 0) {
    const double* next = args.packed(numbers);
    read_numbers(next, value);
  }
  if constexpr (std::is_base_of_v<Window, Struct>) require_usable(value);
}

// What an operator's parameter of type T is read into.
template <typename T>
struct Parameter {
  using Value = std::remove_cv_t<std::remove_reference_t<T>>;
  // Tensors stay where they are; everything else is made for the call.
  using Stored = std::conditional_t<std::is_same_v<Value, Tensor>, const Tensor&, Value>;

  static Stored read(Args& args) {
    if constexpr (std::is_same_v<Value, Tensor>) {
      return args.tensor();
    } else if constexpr (std::is_same_v<Value, OptionalTensor>) {
      return args.optional_tensor();
    } else if constexpr (std::is_same_v<Value, IndexTensor>) {
      return args.index_tensor();
    } else if constexpr (std::is_same_v<Value, AnyTensor>) {
      return args.any_tensor();
    } else if constexpr (std::is_same_v<Value, std::vector<Tensor>>) {
      return args.tensors();
    } else if constexpr (std::is_same_v<Value, OptionalTensors>) {
      return args.optional_tensors();
    } else if constexpr (std::is_same_v<Value, bool>) {
      return args.boolean();
    } else if constexpr (is_number<Value>) {
      return checked_number<Value>(args.number());
    } else {
      Value value{};
      // An epilogue of nothing is left out.
      const bool left_out = (is_optional<Value>::value || std::is_same_v<Value, Epilogue>)&&args.is_left_out();
      if (!left_out) read_struct(args, value);
      return value;
    }
  }
};

}  // namespace sn::binding
