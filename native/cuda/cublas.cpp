#include "cuda/cublas.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <vector>

namespace sn::cuda {
namespace {

const char* const names[] = {"libcublas.so.13", "libcublas.so.12"};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

// The folders of the toolkit, then those of the wheels of every Python in the PATH.
std::vector<std::string> folder_patterns() {
  std::vector<std::string> patterns;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string home = variable(name); !home.empty()) patterns.push_back(home + "/lib64");
  }
  for (const char* folder :
       {"/usr/local/cuda/lib64", "/usr/local/cuda-1[23]*/lib64", "/usr/local/cuda-1[23]*/targets/x86_64-linux/lib",
        "/usr/lib/x86_64-linux-gnu", "/usr/lib64"}) {
    patterns.emplace_back(folder);
  }
  std::vector<std::string> prefixes;
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const std::string prefix = variable(name); !prefix.empty()) prefixes.push_back(prefix);
  }
  const std::string path = variable("PATH");
  for (std::size_t first = 0; first < path.size();) {
    const std::size_t end = std::min(path.find(':', first), path.size());
    const std::string folder = path.substr(first, end - first);
    if (!matches(folder + "/python3").empty()) prefixes.push_back(folder + "/..");
    first = end + 1;
  }
  if (const std::string home = variable("HOME"); !home.empty()) prefixes.push_back(home + "/.local");
  for (const std::string& prefix : prefixes) {
    for (const char* kind : {"site-packages", "dist-packages"}) {
      patterns.push_back(prefix + "/lib/python3*/" + kind + "/nvidia/*/lib");
    }
  }
  return patterns;
}

// libcublas asks for libcublasLt, which the loader may not find by itself where both lie in a folder of their own.
void* open_with_neighbour(const std::string& path) {
  const std::size_t name = path.rfind("libcublas.so");
  if (name != std::string::npos) {
    std::string neighbour = path;
    dlopen(neighbour.replace(name, 12, "libcublasLt.so").c_str(), RTLD_NOW | RTLD_GLOBAL);
  }
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

void* open_library(std::string& path) {
  if (const std::string asked = variable("SPHERENET_CUBLAS"); !asked.empty()) {
    path = asked;
    return open_with_neighbour(asked);
  }
  for (const char* name : names) {
    path = name;
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  for (const std::string& pattern : folder_patterns()) {
    for (const char* name : names) {
      for (const std::string& candidate : matches(pattern + "/" + name)) {
        path = candidate;
        if (void* library = open_with_neighbour(candidate)) return library;
      }
    }
  }
  return nullptr;
}

template <typename Function>
bool resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool resolve_all(void* library, CublasFunctions& functions) {
  return resolve(library, "cublasCreate_v2", functions.create) &&
         resolve(library, "cublasDestroy_v2", functions.destroy) &&
         resolve(library, "cublasGetProperty", functions.get_property) &&
         resolve(library, "cublasSetStream_v2", functions.set_stream) &&
         resolve(library, "cublasSetWorkspace_v2", functions.set_workspace) &&
         resolve(library, "cublasGemmStridedBatchedEx", functions.gemm);
}

CublasLibrary load() {
  CublasLibrary library{};
  // It stays open: unloading it while a context lives is not supported.
  void* opened = open_library(library.path);
  library.found = opened != nullptr && resolve_all(opened, library.functions);
  if (library.found) return library;
  if (const std::string asked = variable("SPHERENET_CUBLAS"); !asked.empty()) {
    library.reason = "SPHERENET_CUBLAS names " + asked + ", which cannot be loaded as cuBLAS";
    if (opened == nullptr) library.reason += std::string(": ") + dlerror();
    return library;
  }
  library.reason =
      "cuBLAS 12 or 13 was not found in the loader's path, CUDA_HOME, /usr/local/cuda*, /usr/lib/x86_64-linux-gnu or "
      "the "
      "packages of the Pythons in PATH: install it (Debian: libcublas12, NVIDIA: libcublas-13-0, Python: "
      "nvidia-cublas) "
      "or name the file in SPHERENET_CUBLAS";
  return library;
}

}  // namespace

const CublasLibrary& cublas_library() {
  static const CublasLibrary library = load();
  return library;
}

}  // namespace sn::cuda
