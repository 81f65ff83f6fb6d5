# Finds LibTorch's headers and libraries by looking at files. The package config that comes with the
# wheels is never run: a CUDA build's config wants a CUDA toolkit even where one only links.
#
# Looked at, in this order; a place the user names must hold a LibTorch:
#   LibTorch_ROOT, Torch_ROOT, Torch_DIR  CMake variable, then environment
#   CMAKE_PREFIX_PATH                     CMake variable, then environment; entries without LibTorch are skipped
#   LibTorch_HINT                         the LibTorch that an installed shira was built with
#   <source>/.venv, $VIRTUAL_ENV          the torch package of that Python
#   python3                               in PATH
# Each may name a libtorch directory, a wheel's `torch` directory, or its share/cmake[/Torch].
#
# Defines LibTorch_FOUND, LibTorch_VERSION, LibTorch_PREFIX, LibTorch_LIBRARY_DIR, LibTorch_CUDA (whether it is a CUDA build) and
# the target LibTorch::LibTorch.

include(FindPackageHandleStandardArgs)

# The LibTorch directory that `place` names, or an empty string.
function(_libtorch_resolve place result)
  set(${result} "" PARENT_SCOPE)
  foreach(candidate "${place}" "${place}/torch" "${place}/../.." "${place}/../../..")
    if(EXISTS "${candidate}/include/ATen/ATen.h" AND EXISTS "${candidate}/lib/libtorch_cpu.so")
      get_filename_component(candidate "${candidate}" REALPATH)
      set(${result} "${candidate}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# The directory of the torch package that `python` would import, without importing it.
function(_libtorch_of_python python result)
  set(${result} "" PARENT_SCOPE)
  if(NOT EXISTS "${python}")
    return()
  endif()
  execute_process(
    COMMAND "${python}" -c
            "import importlib.util as u; print(list(u.find_spec('torch').submodule_search_locations)[0])"
    OUTPUT_VARIABLE place OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0)
    _libtorch_resolve("${place}" place)
    set(${result} "${place}" PARENT_SCOPE)
  endif()
endfunction()

# Sets LibTorch_PREFIX, or LibTorch_FAILURE to the reason.
function(_libtorch_locate)
  # CMake itself sets <Package>_DIR to "<Package>_DIR-NOTFOUND" after a failed search: that is not a place.
  foreach(variable LibTorch_ROOT Torch_ROOT Torch_DIR)
    foreach(place "${${variable}}" "$ENV{${variable}}")
      if(place)
        _libtorch_resolve("${place}" found)
        set(LibTorch_PREFIX "${found}" PARENT_SCOPE)
        if(NOT found)
          set(LibTorch_FAILURE "${variable} is ${place}, which holds no LibTorch (expected a libtorch directory, \
a wheel's torch directory, or its share/cmake/Torch)" PARENT_SCOPE)
        endif()
        return()
      endif()
    endforeach()
  endforeach()

  string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  foreach(place ${CMAKE_PREFIX_PATH} ${environment_prefixes} ${LibTorch_HINT})
    _libtorch_resolve("${place}" found)
    if(found)
      set(LibTorch_PREFIX "${found}" PARENT_SCOPE)
      return()
    endif()
  endforeach()

  find_program(_libtorch_python3 NAMES python3 NO_CACHE)
  foreach(python "${CMAKE_SOURCE_DIR}/.venv/bin/python" "$ENV{VIRTUAL_ENV}/bin/python"
                 "${_libtorch_python3}")
    _libtorch_of_python("${python}" found)
    if(found)
      set(LibTorch_PREFIX "${found}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(LibTorch_FAILURE "LibTorch was not found. Run scripts/setup.sh, or `pip install torch` into .venv, or give \
-DTorch_DIR=<libtorch>/share/cmake/Torch" PARENT_SCOPE)
endfunction()

# Sets LibTorch_VERSION from the headers (2.9 moved the numbers to another file).
function(_libtorch_read_version)
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(EXISTS "${LibTorch_PREFIX}/include/${header}")
      file(STRINGS "${LibTorch_PREFIX}/include/${header}" lines
           REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
      if(lines)
        list(TRANSFORM lines REPLACE "[^0-9]*([0-9]+).*" "\\1")
        list(JOIN lines "." version)
        set(LibTorch_VERSION "${version}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
endfunction()

set(LibTorch_PREFIX "")
set(LibTorch_FAILURE "")
set(LibTorch_VERSION "")
_libtorch_locate()
if(LibTorch_PREFIX)
  _libtorch_read_version()
  set(LibTorch_LIBRARY_DIR "${LibTorch_PREFIX}/lib")
  # 2.7 is the first whose wheels use the current C++ ABI of libstdc++.
  if(LibTorch_VERSION AND LibTorch_VERSION VERSION_LESS 2.7)
    set(LibTorch_FAILURE "LibTorch ${LibTorch_VERSION} in ${LibTorch_PREFIX} is too old (2.7 or newer, 2.13.0 is what is tested)")
  endif()
  foreach(library torch torch_cpu c10)
    if(NOT EXISTS "${LibTorch_LIBRARY_DIR}/lib${library}.so")
      set(LibTorch_FAILURE "lib${library}.so is missing in ${LibTorch_LIBRARY_DIR}")
    endif()
  endforeach()
  if(LibTorch_FAILURE)
    set(LibTorch_PREFIX "")
  endif()
endif()

find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_PREFIX LibTorch_VERSION
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "${LibTorch_FAILURE}")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  set_target_properties(
    LibTorch::LibTorch
    PROPERTIES
      INTERFACE_COMPILE_FEATURES cxx_std_20
      INTERFACE_INCLUDE_DIRECTORIES
      "${LibTorch_PREFIX}/include;${LibTorch_PREFIX}/include/torch/csrc/api/include"
      INTERFACE_LINK_LIBRARIES
      "${LibTorch_LIBRARY_DIR}/libtorch.so;${LibTorch_LIBRARY_DIR}/libtorch_cpu.so;${LibTorch_LIBRARY_DIR}/libc10.so"
      # libtorch_cpu.so of the wheels exports a std::filesystem of its own. The system's must be found
      # first: a mix of both has crashed in std::filesystem::remove_all.
      INTERFACE_LINK_OPTIONS "LINKER:--push-state,--no-as-needed,-lstdc++,--pop-state")

  set(LibTorch_CUDA FALSE)
  if(EXISTS "${LibTorch_LIBRARY_DIR}/libtorch_cuda.so")
    set(LibTorch_CUDA TRUE)
    # Nobody calls into torch_cuda by name (it registers its kernels when loaded), so a linker that
    # drops unused libraries must be told to keep it. Its own dependencies (cuBLAS, ...) are found
    # at run time by its run path and may be unknown to the linker.
    set_property(
      TARGET LibTorch::LibTorch APPEND
      PROPERTY INTERFACE_LINK_LIBRARIES
               "-Wl,--push-state,--no-as-needed,${LibTorch_LIBRARY_DIR}/libtorch_cuda.so,--pop-state")
    if(EXISTS "${LibTorch_LIBRARY_DIR}/libc10_cuda.so")
      set_property(TARGET LibTorch::LibTorch APPEND PROPERTY INTERFACE_LINK_LIBRARIES
                                                             "${LibTorch_LIBRARY_DIR}/libc10_cuda.so")
    endif()
    set_property(TARGET LibTorch::LibTorch APPEND PROPERTY INTERFACE_LINK_OPTIONS
                                                           "-Wl,--allow-shlib-undefined")
  endif()

  # at::parallel_for is a header template that runs serially unless its includer is compiled with
  # OpenMP. The runtime must be the one that LibTorch itself uses, which wheels bring along, some
  # under a name of their own: so the compiler gets -fopenmp and the linker that file. (clang's
  # OpenMP is another runtime: there the templates stay serial.)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    file(GLOB _libtorch_gomp "${LibTorch_LIBRARY_DIR}/libgomp*.so*"
         "${LibTorch_PREFIX}/../torch.libs/libgomp*.so*")
    list(APPEND _libtorch_gomp "-lgomp")
    list(GET _libtorch_gomp 0 _libtorch_gomp)
    set_property(TARGET LibTorch::LibTorch APPEND
                 PROPERTY INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>")
    set_property(TARGET LibTorch::LibTorch APPEND PROPERTY INTERFACE_LINK_LIBRARIES
                                                           "${_libtorch_gomp}")
  endif()
endif()
