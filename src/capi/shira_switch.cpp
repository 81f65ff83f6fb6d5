// The functions of shira_switch.h: each checks its arguments and makes one call.
#include "adapter.h"
#include "base_tensors.h"
#include "patch.h"
#include "status.h"
#include "switcher.h"

#include <shira/base/error.h>

#include <shira_switch.h>

#include <cmath>
#include <memory>
#include <span>
#include <vector>

using namespace shira::capi;  // NOLINT: the functions of C have no namespace of their own

struct shira_switch_base {
  Switcher switcher;
};

struct shira_switch_adapter {
  Adapter adapter;
};

struct shira_switch_patch {
  Patch patch;
};

struct shira_switch_lease {
  shira::Lease lease;
};

namespace {

void check_not_null(const void* argument, const char* name) {
  SHIRA_CHECK(ConfigError, argument != nullptr, name, " is NULL.");
}

template <typename T>
std::span<const T> checked_list(const T* items, std::size_t count, const char* name) {
  SHIRA_CHECK(ConfigError, items != nullptr || count == 0, name, " is NULL, but ", count,
              " of them are said to be there.");
  return {items, count};
}

/// Writes what `make` returns to `*result`, NULL when it throws.
template <typename Handle, typename Make>
shira_switch_status make_handle(const char* function, Handle** result, Make make) {
  return guarded(function, [&] {
    check_not_null(result, "the place for the result");
    *result = nullptr;
    *result = make();
  });
}

std::vector<ScaledAdapter> scaled_adapters(std::span<const shira_switch_scaled_adapter> adapters) {
  std::vector<ScaledAdapter> scaled;
  for (const auto& [adapter, scale] : adapters) {
    check_not_null(adapter, "an adapter");
    SHIRA_CHECK(ConfigError, std::isfinite(scale), "scale ", scale, " is no finite number.");
    scaled.push_back({&adapter->adapter, scale});
  }
  return scaled;
}

}  // namespace

const char* shira_switch_version(void) { return SHIRA_VERSION; }

const char* shira_switch_last_error(void) { return last_error(); }

shira_switch_status shira_switch_base_new(const shira_switch_tensor* tensors, size_t count,
                                          shira_switch_base** base) {
  return make_handle(__func__, base, [&] {
    const auto list = checked_list(tensors, count, "tensors");
    SHIRA_CHECK(ConfigError, !list.empty(), "a base needs at least one tensor. Got none.");
    return new shira_switch_base{Switcher(describe(list))};
  });
}

shira_switch_status shira_switch_base_free(shira_switch_base* base) {
  if (base == nullptr) return SHIRA_SWITCH_OK;
  return guarded(__func__, [&] {
    base->switcher.revert();
    delete base;
  });
}

shira_switch_status shira_switch_adapter_load(const char* directory,
                                              shira_switch_adapter** adapter) {
  return make_handle(__func__, adapter, [&] {
    check_not_null(directory, "directory");
    return new shira_switch_adapter{load_adapter(directory)};
  });
}

shira_switch_status shira_switch_adapter_free(shira_switch_adapter* adapter) {
  delete adapter;
  return SHIRA_SWITCH_OK;
}

shira_switch_status shira_switch_resolve(shira_switch_base* base,
                                         const shira_switch_scaled_adapter* adapters, size_t count,
                                         int force, shira_switch_patch** patch) {
  return make_handle(__func__, patch, [&] {
    check_not_null(base, "base");
    const auto scaled = scaled_adapters(checked_list(adapters, count, "adapters"));
    return new shira_switch_patch{base->switcher.resolve(scaled, force != 0)};
  });
}

shira_switch_status shira_switch_patch_nnz(const shira_switch_patch* patch, int64_t* nnz) {
  return guarded(__func__, [&] {
    check_not_null(patch, "patch");
    check_not_null(nnz, "the place for the result");
    *nnz = 0;
    for (const auto& [name, entry] : *patch->patch.entries) {
      *nnz += static_cast<int64_t>(entry.count());
    }
  });
}

shira_switch_status shira_switch_patch_unchecked(const shira_switch_patch* patch,
                                                 int64_t* tensors) {
  return guarded(__func__, [&] {
    check_not_null(patch, "patch");
    check_not_null(tensors, "the place for the result");
    *tensors = patch->patch.unchecked;
  });
}

shira_switch_status shira_switch_patch_free(shira_switch_patch* patch) {
  delete patch;
  return SHIRA_SWITCH_OK;
}

shira_switch_status shira_switch_apply(shira_switch_base* base, const shira_switch_patch* patch) {
  return guarded(__func__, [&] {
    check_not_null(base, "base");
    check_not_null(patch, "patch");
    base->switcher.apply(patch->patch);
  });
}

shira_switch_status shira_switch_switch_to(shira_switch_base* base,
                                           const shira_switch_patch* patch) {
  return guarded(__func__, [&] {
    check_not_null(base, "base");
    check_not_null(patch, "patch");
    base->switcher.switch_to(patch->patch);
  });
}

shira_switch_status shira_switch_revert(shira_switch_base* base) {
  return guarded(__func__, [&] {
    check_not_null(base, "base");
    base->switcher.revert();
  });
}

shira_switch_status shira_switch_is_applied(shira_switch_base* base, int* is_applied) {
  return guarded(__func__, [&] {
    check_not_null(base, "base");
    check_not_null(is_applied, "the place for the result");
    *is_applied = base->switcher.is_applied() ? 1 : 0;
  });
}

shira_switch_status shira_switch_lease_acquire(shira_switch_base* base,
                                               shira_switch_lease** lease) {
  return make_handle(__func__, lease, [&] {
    check_not_null(base, "base");
    return new shira_switch_lease{base->switcher.lease()};
  });
}

shira_switch_status shira_switch_lease_release(shira_switch_lease* lease) {
  return guarded(__func__, [&] { delete lease; });
}
