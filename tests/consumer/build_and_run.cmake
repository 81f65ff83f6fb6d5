# Configures and builds an application against the installed package, and runs it. Given: PREFIX,
# SOURCE_DIR, BUILD_DIR, C_COMPILER, CXX_COMPILER, FLAGS, CCACHE, COMMAND (a line, or empty).
file(REMOVE_RECURSE "${BUILD_DIR}")

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(options "-DCMAKE_PREFIX_PATH=${PREFIX}")
foreach(language C CXX)
  list(APPEND options "-DCMAKE_${language}_COMPILER=${${language}_COMPILER}"
       "-DCMAKE_${language}_FLAGS=${FLAGS}" "-DCMAKE_${language}_COMPILER_LAUNCHER=${CCACHE}")
endforeach()
run("${CMAKE_COMMAND}" -G Ninja -S "${SOURCE_DIR}" -B "${BUILD_DIR}" ${options})
run("${CMAKE_COMMAND}" --build "${BUILD_DIR}")
separate_arguments(COMMAND)
if(COMMAND)
  run("${CMAKE_COMMAND}" -E chdir "${BUILD_DIR}" ${COMMAND})
endif()
