# How this project's own targets are compiled. Not installed.

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# ccache, with paths taken relative to the project and the build directory left out of the hash, so that
# a second clone hits what the first one compiled.
find_program(CCACHE ccache)
find_program(ENV_PROGRAM env)
mark_as_advanced(CCACHE ENV_PROGRAM)
if(CCACHE AND ENV_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${ENV_PROGRAM}" "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
                                  CCACHE_NOHASHDIR=1 "${CCACHE}")
endif()

if(SHIRA_SANITIZE)
  add_compile_options(-fsanitize=${SHIRA_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SHIRA_SANITIZE})
endif()

if(SHIRA_LIBFUZZER)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# The files `<root>/<layer>/*<suffix>` of the layers given.
function(shira_glob_layers result root suffix)
  list(TRANSFORM ARGN PREPEND "${root}/" OUTPUT_VARIABLE patterns)
  list(TRANSFORM patterns APPEND "/*${suffix}")
  file(GLOB files CONFIGURE_DEPENDS ${patterns})
  set(${result} "${files}" PARENT_SCOPE)
endfunction()

# Language, warnings, visibility, include directories.
function(shira_compile_settings target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(
    ${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
                         VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(
    ${target}
    PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
           "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
    PRIVATE "${PROJECT_SOURCE_DIR}/src")
  target_compile_options(
    ${target}
    PRIVATE -Wall -Wextra -Wpedantic $<$<BOOL:${SHIRA_WERROR}>:-Werror>
            # Function names and lines, which is what a backtrace shows. Full debug information takes
            # 60 % more time and 15 times the space for a file that includes torch/torch.h; these
            # two take no measurable time. For stepping through code: -DCMAKE_BUILD_TYPE=Debug.
            $<$<CONFIG:RelWithDebInfo>:-g1> $<$<CONFIG:RelWithDebInfo>:-gz>)
endfunction()

# Compiles a target's files under `<root>/<layer>/` in batches of about five, a layer on its own, so
# that a new file moves only its own layer's batches.
function(shira_unity target root)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${SHIRA_UNITY} UNITY_BUILD_MODE GROUP
                                             UNITY_BUILD_RELOCATABLE ON)
  get_target_property(files ${target} SOURCES)
  foreach(layer ${ARGN})
    set(layer_files ${files})
    list(FILTER layer_files INCLUDE REGEX "^${root}/${layer}/")
    list(LENGTH layer_files count)
    math(EXPR batches "(${count} + 5) / 6")
    set(index 0)
    foreach(file ${layer_files})
      math(EXPR batch "${index} * ${batches} / ${count}")
      set_source_files_properties("${file}" PROPERTIES UNITY_GROUP "${layer}_${batch}")
      math(EXPR index "${index} + 1")
    endforeach()
  endforeach()
endfunction()

# Programs take their memory from tcmalloc where it is installed: a training step of the tiny base takes 10 to
# 35 % less time and its process 15 to 20 % less memory than with glibc's heap, which keeps holes that the
# tensors of a step do not fit. The libraries leave the choice to the application. Sanitizers bring their own.
find_library(TCMALLOC_LIBRARY tcmalloc_minimal)
mark_as_advanced(TCMALLOC_LIBRARY)
if(NOT TCMALLOC_LIBRARY)
  message(STATUS "tcmalloc: not found, programs use the C library's allocator (slower)")
endif()
function(shira_program_settings target)
  shira_compile_settings(${target})
  if(TCMALLOC_LIBRARY AND NOT SHIRA_SANITIZE)
    target_link_libraries(${target} PRIVATE -Wl,--push-state,--no-as-needed "${TCMALLOC_LIBRARY}"
                                            -Wl,--pop-state)
  endif()
endfunction()
