// Typed errors of the native side. The binding turns each code into the TypeScript class of the same name.
#pragma once

#include <stdexcept>
#include <string>

namespace sn {

enum class ErrorCode { shape, dtype, device, option, data, disposed };

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string argument, const std::string& message)
      : std::runtime_error(message), code_(code), argument_(std::move(argument)) {}

  ErrorCode code() const { return code_; }
  const std::string& argument() const { return argument_; }

 private:
  ErrorCode code_;
  std::string argument_;
};

}  // namespace sn
