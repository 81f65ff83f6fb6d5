// The command line: results go to stdout, progress and errors to stderr; exit codes 0 done, 1
// failed, 2 bad usage or configuration, 130 and 143 interrupted (after saving).
#include "commands.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>

#include <c10/util/Exception.h>

#include <iostream>

namespace {

int run(int argc, char** argv) {
  CLI::App app(
      "Fine-tunes LLaMA and Stable Diffusion models with Sparse High Rank Adapters (SHiRA).",
      "shira");
  app.require_subcommand(1);
  app.set_version_flag("--version", SHIRA_VERSION);
  int exit_code = 0;
  shira::tools::add_train(app, exit_code);
  shira::tools::add_generate(app, exit_code);
  shira::tools::add_imagine(app, exit_code);
  shira::tools::add_eval(app, exit_code);
  shira::tools::add_verify(app, exit_code);
  shira::tools::add_tokenize(app, exit_code);
  shira::tools::add_mask(app, exit_code);
  shira::tools::add_inspect(app, exit_code);
  shira::tools::add_fuse(app, exit_code);
  shira::tools::add_merge(app, exit_code);
  shira::tools::add_diff(app, exit_code);
  shira::tools::add_convert(app, exit_code);
  shira::tools::add_config(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const shira::ConfigError& error) {
    shira::log_error(error.what());
    return 2;
  } catch (const c10::Error& error) {
    shira::log_error(error.what_without_backtrace());
  } catch (const std::exception& error) {
    shira::log_error(error.what());
  }
  return 1;
}
