// The operators of core/operators.def as functions of the addon: their C++ signatures are the declaration.
#include <cctype>
#include <map>

#include "binding/call.h"
#include "binding/structs.h"

namespace sn::binding {
namespace {

#define SN_OPERATOR(result_type, operator_name, parameter_list) \
  struct operator_name##_declaration {                          \
    static constexpr auto function = &Backend::operator_name;   \
    static constexpr const char* name = #operator_name;         \
    static constexpr const char* result = #result_type;         \
    static constexpr const char* parameters = #parameter_list;  \
  };
#include "core/operators.def"

// sphere_conv2d_forward to sphereConv2dForward
std::string camel_case(const std::string& name) {
  std::string result;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool upper = name[i] == '_' && i + 1 < name.size();
    result += upper ? static_cast<char>(std::toupper(name[++i])) : name[i];
  }
  return result;
}

// The words between commas, trimmed.
std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t first = 0; first <= list.size();) {
    const std::size_t end = std::min(list.find(',', first), list.size());
    const std::size_t begin = list.find_first_not_of(' ', first);
    parts.push_back(list.substr(begin, end - begin));
    first = end + 1;
  }
  return parts;
}

// "const Tensor& x" is "Tensor" and "x"; `const std::optional<SphereSaved>& saved` is "std::optional<SphereSaved>".
struct ParameterText {
  std::string type, name;
};
std::vector<ParameterText> parameter_texts(const std::string& list) {
  std::vector<ParameterText> parameters;
  for (const std::string& text : split(list.substr(1, list.size() - 2))) {
    const std::size_t space = text.rfind(' ');
    std::string type = text.substr(0, space);
    if (type.rfind("const ", 0) == 0) type.erase(0, 6);
    if (type.back() == '&') type.pop_back();
    parameters.push_back({type, camel_case(text.substr(space + 1))});
  }
  return parameters;
}

// An argument of the call as errors and the contract name it.
struct ArgumentText {
  std::string type, name;
};

// The fields of a struct, one after the other, with those of the structs within it in their places.
struct StructText {
  std::vector<ArgumentText> tensors;
  std::vector<std::string> numbers;
};
template <typename T>
void describe_field(const std::string& name, bool optional, StructText& text);
template <typename Struct>
void describe_fields(bool optional, StructText& text) {
  const std::vector<std::string> names = split(Struct::field_names);
  Struct value{};
  std::size_t field = 0;
  for_each_field(value,
                 [&](auto& member) { describe_field<std::decay_t<decltype(member)>>(names[field++], optional, text); });
}
template <typename T>
void describe_field(const std::string& name, bool optional, StructText& text) {
  if constexpr (is_optional<T>::value) {
    describe_fields<typename T::value_type>(true, text);
  } else if constexpr (is_struct<T>::value) {
    describe_fields<T>(optional, text);
  } else if constexpr (is_number<T>) {
    text.numbers.push_back(camel_case(name));
  } else {
    const bool is_absent = optional || std::is_same_v<T, OptionalTensor>;
    text.tensors.push_back({is_absent ? "OptionalTensor" : "Tensor", camel_case(name)});
  }
}

// What the addon tells of its operators: test/native/contract.test.ts holds it against typings/native.d.ts.
struct Contract {
  std::vector<ArgumentText> arguments;
  std::map<std::string, std::vector<std::string>> structs;  // with numbers: their names
};

template <typename T>
void describe_parameter(const ParameterText& text, bool is_last, Contract& contract) {
  using Value = typename Parameter<T>::Value;
  if constexpr (is_optional<Value>::value || is_struct<Value>::value) {
    StructText fields;
    describe_field<Value>(text.name, false, fields);
    // The last one is left out as a whole.
    if constexpr (is_optional<Value>::value) {
      if (is_last) describe_fields<typename Value::value_type>(false, fields = {});
    }
    for (const ArgumentText& tensor : fields.tensors) contract.arguments.push_back(tensor);
    if (fields.numbers.empty()) return;
    const std::size_t bracket = text.type.find('<');
    const std::string type =
        bracket == std::string::npos ? text.type : text.type.substr(bracket + 1, text.type.size() - bracket - 2);
    contract.arguments.push_back({"Packed<" + type + ">", text.name});
    contract.structs[type] = fields.numbers;
  } else {
    contract.arguments.push_back({text.type, text.name});
  }
}

template <typename Result, typename... Parameters>
Contract describe(Result (Backend::*)(Parameters...), const char* parameters) {
  const std::vector<ParameterText> texts = parameter_texts(parameters);
  Contract contract;
  std::size_t i = 0;
  ((describe_parameter<Parameters>(texts[i], i + 1 == sizeof...(Parameters), contract), ++i), ...);
  return contract;
}

template <typename Declaration>
class DeclaredNames final : public ParameterNames {
 public:
  std::string name(std::size_t argument) const override {
    const Contract contract = describe(Declaration::function, Declaration::parameters);
    return argument < contract.arguments.size() ? contract.arguments[argument].name : "argument";
  }
};

template <typename Result, typename... Parameters>
Napi::Value run(Args& args, Result (Backend::*function)(Parameters...)) {
  // Braces: the arguments are read from the first to the last.
  const std::tuple<typename Parameter<Parameters>::Stored...> values{Parameter<Parameters>::read(args)...};
  Backend* device = args.operands_device();
  if (device == nullptr) return args.env().Undefined();  // empty lists of tensors
  return std::apply(
      [&](const auto&... parameters) -> Napi::Value {
        if constexpr (std::is_void_v<Result>) {
          (device->*function)(parameters...);
          return args.env().Undefined();
        } else {
          Result made = (device->*function)(parameters...);
          if (!made) return args.env().Null();
          return environment(args.env()).handles().make(args.env(), std::move(made));
        }
      },
      values);
}

template <typename Declaration>
Napi::Value call_operator(const Napi::CallbackInfo& info) {
  return translating_errors(Library::of(info), [&] {
    static const DeclaredNames<Declaration> names;
    Args args(info, &names);
    return run(args, Declaration::function);
  });
}

template <typename Declaration>
void expose_operator(Exports& exports, Napi::Object& contracts, Napi::Object& structs) {
  const Napi::Env env = exports.library.env();
  const std::string name = camel_case(Declaration::name);
  exports.object.Set(name, Napi::Function::New<call_operator<Declaration>>(env, name, &exports.library));
  const Contract contract = describe(Declaration::function, Declaration::parameters);
  auto arguments = Napi::Array::New(env);
  for (const auto& [type, argument] : contract.arguments) arguments.Set(arguments.Length(), type + " " + argument);
  auto signature = Napi::Object::New(env);
  signature.Set("arguments", arguments);
  signature.Set("result", Declaration::result);
  contracts.Set(name, signature);
  for (const auto& [type, numbers] : contract.structs) {
    auto names = Napi::Array::New(env);
    for (const std::string& number : numbers) names.Set(names.Length(), number);
    structs.Set(type, names);
  }
}

}  // namespace

void expose_operators(Exports& exports) {
  const Napi::Env env = exports.library.env();
  auto contracts = Napi::Object::New(env), structs = Napi::Object::New(env);
#define SN_OPERATOR(result_type, operator_name, parameter_list) \
  expose_operator<operator_name##_declaration>(exports, contracts, structs);
#include "core/operators.def"
  exports.object.Set("operators", contracts);
  exports.object.Set("structs", structs);
}

}  // namespace sn::binding
