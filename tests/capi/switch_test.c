/* shira_switch.h from a C99 program: every function, every kind of error, on adapters of two
 * entries that are written here byte by byte. The results on real adapters are held against `shira
 * merge` in tests/cli/test_shira_switch.py. usage: switch_test EMPTY_DIRECTORY */
#define _POSIX_C_SOURCE 200809L
#include <shira_switch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int failures = 0;

#define CHECK(condition)                                                                      \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      ++failures;                                                                             \
      fprintf(stderr, "%s:%d: failed: %s (last error: %s)\n", __FILE__, __LINE__, #condition, \
              shira_switch_last_error());                                                     \
    }                                                                                         \
  } while (0)

#define CHECK_OK(call) CHECK((call) == SHIRA_SWITCH_OK)

/* The call must fail with `status` and a message that has `text` in it. */
#define CHECK_FAILS(status, text, call)                     \
  do {                                                      \
    CHECK((call) == (status));                              \
    CHECK(strstr(shira_switch_last_error(), text) != NULL); \
  } while (0)

/* ---- adapters ------------------------------------------------------------------------------- */

#define HEADER                                                              \
  "\"format\":\"shira\",\"value_kind\":\"weights\",\"base_dtype\":\"F32\"," \
  "\"base_model\":\"none\",\"mask_type\":\"rand\","

/* Two values of `dtype` for entries 1 and 4 of w (2, 3). */
#define TWO_ENTRIES \
  HEADER "\"format_version\":\"1\",\"target.w\":\"{\\\"shape\\\":[2,3],\\\"nnz\\\":2}\""
#define TENSORS(dtype, bytes, end)                                                 \
  "\"w.restarts\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]},"       \
  "\"w.values\":{\"dtype\":\"" dtype "\",\"shape\":[2],\"data_offsets\":[0," bytes \
  "]},\"w.gaps\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[" bytes "," end "]}"

static const char* work;

static const char* path_of(const char* name) {
  static char path[4096];
  snprintf(path, sizeof(path), "%s/%s", work, name);
  return path;
}

static FILE* create(const char* directory, const char* name) {
  char relative[256];
  snprintf(relative, sizeof(relative), "%s/%s", directory, name);
  FILE* file = fopen(path_of(relative), "wb");
  if (file == NULL) {
    perror(path_of(relative));
    exit(1);
  }
  return file;
}

static void write_adapter(const char* name, const char* metadata, const char* tensors,
                          const void* data, size_t size) {
  char header[4096];
  snprintf(header, sizeof(header), "{\"__metadata__\":{%s},%s}", metadata, tensors);
  const uint64_t length = strlen(header);
  mkdir(path_of(name), 0777);
  FILE* file = create(name, "adapter_model.safetensors");
  fwrite(&length, sizeof(length), 1, file);
  fwrite(header, 1, length, file);
  fwrite(data, 1, size, file);
  fclose(file);
  file = create(name, "adapter_config.json");
  fputs("{\"layout\":\"shira\"}", file);
  fclose(file);
}

/* w[1] = first, w[4] = second */
static void write_floats(const char* name, float first, float second) {
  unsigned char data[10];
  memcpy(data, &first, 4);
  memcpy(data + 4, &second, 4);
  data[8] = 1;
  data[9] = 3;
  write_adapter(name, TWO_ENTRIES, TENSORS("F32", "8", "10"), data, sizeof(data));
}

static shira_switch_adapter* load(const char* name) {
  shira_switch_adapter* adapter = NULL;
  CHECK_OK(shira_switch_adapter_load(path_of(name), &adapter));
  return adapter;
}

/* ---- bases ---------------------------------------------------------------------------------- */

static const int64_t kShape[2] = {2, 3};

static shira_switch_base* base_on(void* data, const char* dtype) {
  const shira_switch_tensor tensor = {"w", data, dtype, 2, kShape};
  shira_switch_base* base = NULL;
  CHECK_OK(shira_switch_base_new(&tensor, 1, &base));
  return base;
}

static shira_switch_patch* resolve(shira_switch_base* base, const char* name, double scale) {
  const shira_switch_scaled_adapter scaled = {load(name), scale};
  shira_switch_patch* patch = NULL;
  CHECK_OK(shira_switch_resolve(base, &scaled, 1, 0, &patch));
  CHECK_OK(shira_switch_adapter_free((shira_switch_adapter*)scaled.adapter));
  return patch;
}

static int holds(const float* weights, float first, float second) {
  const float expected[6] = {0, first, 2, 3, second, 5};
  return memcmp(weights, expected, sizeof(expected)) == 0;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_switching(void) {
  float weights[6] = {0, 1, 2, 3, 4, 5};
  shira_switch_base* base = base_on(weights, "F32");
  shira_switch_patch* a = resolve(base, "a", 1.0);
  shira_switch_patch* half = resolve(base, "b", 0.5);
  int64_t count = 0;
  CHECK_OK(shira_switch_patch_nnz(a, &count));
  CHECK(count == 2);
  CHECK_OK(shira_switch_patch_unchecked(a, &count)); /* the file has no checksum */
  CHECK(count == 1);

  int is_applied = -1;
  CHECK_OK(shira_switch_is_applied(base, &is_applied));
  CHECK(is_applied == 0);
  CHECK_OK(shira_switch_apply(base, a));
  CHECK(holds(weights, 10, 40));
  CHECK_OK(shira_switch_is_applied(base, &is_applied));
  CHECK(is_applied == 1);
  CHECK_FAILS(SHIRA_SWITCH_WRONG_STATE, "already applied", shira_switch_apply(base, half));
  CHECK(holds(weights, 10, 40));

  CHECK_OK(shira_switch_switch_to(base, half)); /* 1 + (100 - 1) / 2, 4 + (400 - 4) / 2 */
  CHECK(holds(weights, 50.5F, 202));
  shira_switch_patch* meanwhile = resolve(base, "a", 0.5); /* sees the base, not half */
  CHECK_OK(shira_switch_switch_to(base, meanwhile));
  CHECK(holds(weights, 5.5F, 22));
  CHECK_OK(shira_switch_patch_free(meanwhile)); /* it stays applied */
  CHECK_OK(shira_switch_revert(base));
  CHECK(holds(weights, 1, 4));
  CHECK_OK(shira_switch_revert(base));

  CHECK_OK(shira_switch_switch_to(base, a));
  CHECK_OK(shira_switch_base_free(base));
  CHECK(holds(weights, 1, 4));
  CHECK_OK(shira_switch_patch_free(a));
  CHECK_OK(shira_switch_patch_free(half));
}

static void test_several_adapters(void) {
  float weights[6] = {0, 1, 2, 3, 4, 5};
  shira_switch_base* base = base_on(weights, "F32");
  const shira_switch_scaled_adapter both[2] = {{load("a"), 1.0}, {load("b"), -1.0}};
  shira_switch_patch* patch = NULL;
  CHECK_OK(shira_switch_resolve(base, both, 2, 0, &patch));
  CHECK_OK(shira_switch_apply(base, patch)); /* 1 + 9 - 99, 4 + 36 - 396 */
  CHECK(holds(weights, -89, -356));
  shira_switch_patch* none = NULL;
  CHECK_OK(shira_switch_resolve(base, NULL, 0, 0, &none));
  CHECK_OK(shira_switch_switch_to(base, none));
  CHECK(holds(weights, 1, 4));
  CHECK_OK(shira_switch_patch_free(none));
  CHECK_OK(shira_switch_patch_free(patch));
  CHECK_OK(shira_switch_adapter_free((shira_switch_adapter*)both[0].adapter));
  CHECK_OK(shira_switch_adapter_free((shira_switch_adapter*)both[1].adapter));
  CHECK_OK(shira_switch_base_free(base));
}

/* Integers can be copied, not scaled. */
static void test_any_dtype_is_copied(void) {
  int8_t weights[6] = {0, 1, 2, 3, 4, 5};
  const int8_t expected[6] = {0, 10, 2, 3, 40, 5};
  shira_switch_base* base = base_on(weights, "I8");
  shira_switch_patch* patch = resolve(base, "bytes", 1.0);
  CHECK_OK(shira_switch_apply(base, patch));
  CHECK(memcmp(weights, expected, 6) == 0);
  CHECK_OK(shira_switch_patch_free(patch));
  const shira_switch_scaled_adapter scaled = {load("bytes"), 0.5};
  CHECK_FAILS(SHIRA_SWITCH_MISFIT, "w: values of dtype I8 can only be copied",
              shira_switch_resolve(base, &scaled, 1, 0, &patch));
  CHECK(patch == NULL);
  CHECK_OK(shira_switch_adapter_free((shira_switch_adapter*)scaled.adapter));
  CHECK_OK(shira_switch_base_free(base));
}

/* A target that is held whole, at an address that suits no float, between sparse patches. */
static void test_whole_tensors(void) {
  const float original[6] = {0, 1, 2, 3, 4, 5};
  unsigned char memory[sizeof(original) + 1];
  unsigned char* weights = memory + 1;
  float now[6];
  memcpy(weights, original, sizeof(original));
  shira_switch_base* base = base_on(weights, "F32");
  shira_switch_patch* sparse = resolve(base, "a", 1.0);
  CHECK_OK(shira_switch_apply(base, sparse));
  shira_switch_patch* whole = resolve(base, "whole", 1.0);
  shira_switch_patch* half = resolve(base, "whole", 0.5);
  CHECK_OK(shira_switch_switch_to(base, whole));
  memcpy(now, weights, sizeof(now));
  CHECK(now[0] == 9 && now[1] == 9 && now[5] == 9);
  CHECK_OK(shira_switch_switch_to(base, half));
  memcpy(now, weights, sizeof(now));
  CHECK(now[0] == 4.5F && now[1] == 5 && now[5] == 7);
  CHECK_OK(shira_switch_switch_to(base, sparse));
  memcpy(now, weights, sizeof(now));
  CHECK(holds(now, 10, 40));
  CHECK_OK(shira_switch_base_free(base));
  CHECK(memcmp(weights, original, sizeof(original)) == 0);
  CHECK_OK(shira_switch_patch_free(sparse));
  CHECK_OK(shira_switch_patch_free(whole));
  CHECK_OK(shira_switch_patch_free(half));
}

/* All that does not fit is in one message, and nothing changes. */
static void test_misfits(void) {
  float weights[6] = {0, 1, 2, 3, 4, 5};
  const int64_t turned[2] = {3, 2};
  const shira_switch_tensor other[2] = {{"v", weights, "F32", 2, kShape},
                                        {"u", NULL, "F32", 1, turned}};
  shira_switch_base* base = NULL;
  shira_switch_patch* patch = NULL;
  const shira_switch_scaled_adapter two[2] = {{load("a"), 1.0}, {load("removes"), 1.0}};
  CHECK_FAILS(SHIRA_SWITCH_INVALID_ARGUMENT, "u: the data is NULL",
              shira_switch_base_new(other, 2, &base));
  CHECK_OK(shira_switch_base_new(other, 1, &base));
  CHECK_FAILS(SHIRA_SWITCH_MISFIT, "w: the model has no such parameter",
              shira_switch_resolve(base, two, 2, 1, &patch));
  CHECK(strstr(shira_switch_last_error(), "gone: the adapter removes it") != NULL);
  CHECK(holds(weights, 1, 4));

  float more[6] = {0, 1, 2, 3, 4, 5};
  const shira_switch_tensor reshaped = {"w", more, "F32", 2, turned};
  shira_switch_base* second = NULL;
  CHECK_OK(shira_switch_base_new(&reshaped, 1, &second));
  CHECK_FAILS(SHIRA_SWITCH_MISFIT, "w: the base has shape [3, 2], the adapter [2, 3]",
              shira_switch_resolve(second, two, 1, 1, &patch));
  CHECK(patch == NULL);
  CHECK_OK(shira_switch_base_free(second));

  second = base_on(more, "F32");
  patch = resolve(second, "a", 1.0);
  CHECK_FAILS(SHIRA_SWITCH_MISFIT, "another base", shira_switch_switch_to(base, patch));
  CHECK_FAILS(SHIRA_SWITCH_MISFIT, "another base", shira_switch_apply(base, patch));
  CHECK(holds(weights, 1, 4));
  CHECK_OK(shira_switch_patch_free(patch));
  CHECK_OK(shira_switch_adapter_free((shira_switch_adapter*)two[0].adapter));
  CHECK_OK(shira_switch_adapter_free((shira_switch_adapter*)two[1].adapter));
  CHECK_OK(shira_switch_base_free(second));
  CHECK_OK(shira_switch_base_free(base));
}

static void check_description(const char* text, shira_switch_tensor second) {
  static float first_data[6];
  const shira_switch_tensor tensors[2] = {{"first", first_data, "F32", 2, kShape}, second};
  shira_switch_base* base = (shira_switch_base*)first_data;
  CHECK_FAILS(SHIRA_SWITCH_INVALID_ARGUMENT, text, shira_switch_base_new(tensors, 2, &base));
  CHECK(base == NULL);
}

static void test_descriptions(void) {
  static float data[12];
  const int64_t negative[2] = {2, -3};
  const int64_t huge[3] = {INT64_MAX / 8, 4, 1};
  const int64_t large[1] = {INT64_MAX / 8};
  check_description("number 1 has no name", (shira_switch_tensor){NULL, data, "F32", 2, kShape});
  check_description("number 1 has no name", (shira_switch_tensor){"", data, "F32", 2, kShape});
  check_description("first: another", (shira_switch_tensor){"first", data, "F32", 2, kShape});
  check_description("x: the data is NULL", (shira_switch_tensor){"x", NULL, "F32", 2, kShape});
  check_description("x: the dtype is NULL", (shira_switch_tensor){"x", data, NULL, 2, kShape});
  check_description("x: unknown dtype 'f32'", (shira_switch_tensor){"x", data, "f32", 2, kShape});
  check_description("x: rank -1", (shira_switch_tensor){"x", data, "F32", -1, kShape});
  check_description("x: rank 65", (shira_switch_tensor){"x", data, "F32", 65, kShape});
  check_description("x: the shape is NULL", (shira_switch_tensor){"x", data, "F32", 2, NULL});
  check_description("[2, -3] has a negative", (shira_switch_tensor){"x", data, "F32", 2, negative});
  check_description("larger than any memory", (shira_switch_tensor){"x", data, "F32", 3, huge});
  check_description("beyond the end of memory",
                    (shira_switch_tensor){"x", (void*)UINTPTR_MAX, "F64", 1, large});

  const shira_switch_tensor overlapping[2] = {{"x", data, "F32", 2, kShape},
                                              {"y", data + 5, "F32", 2, kShape}};
  const shira_switch_tensor adjacent[3] = {{"x", data, "F32", 2, kShape},
                                           {"scalar", data + 6, "F32", 0, NULL},
                                           {"empty", NULL, "F32", 1, (const int64_t[]){0}}};
  shira_switch_base* base = NULL;
  CHECK_FAILS(SHIRA_SWITCH_INVALID_ARGUMENT, "x and y share memory",
              shira_switch_base_new(overlapping, 2, &base));
  CHECK_OK(shira_switch_base_new(adjacent, 3, &base));
  CHECK_OK(shira_switch_base_free(base));
}

static void test_arguments(void) {
  float weights[6] = {0, 1, 2, 3, 4, 5};
  shira_switch_base* base = NULL;
  shira_switch_patch* patch = NULL;
  shira_switch_scaled_adapter scaled = {NULL, 1.0};
  shira_switch_adapter* adapter = NULL;
  shira_switch_lease* lease = NULL;
  const shira_switch_status bad = SHIRA_SWITCH_INVALID_ARGUMENT;
  CHECK_FAILS(bad, "at least one tensor", shira_switch_base_new(NULL, 0, &base));
  CHECK_FAILS(bad, "tensors is NULL", shira_switch_base_new(NULL, 1, &base));
  base = base_on(weights, "F32");
  CHECK_FAILS(bad, "place for the result", shira_switch_base_new(NULL, 1, NULL));
  CHECK_FAILS(bad, "place for the result", shira_switch_adapter_load("x", NULL));
  CHECK_FAILS(bad, "directory is NULL", shira_switch_adapter_load(NULL, &adapter));
  CHECK_FAILS(bad, "base is NULL", shira_switch_resolve(NULL, NULL, 0, 0, &patch));
  CHECK_FAILS(bad, "adapters is NULL", shira_switch_resolve(base, NULL, 1, 0, &patch));
  CHECK_FAILS(bad, "an adapter is NULL", shira_switch_resolve(base, &scaled, 1, 0, &patch));
  CHECK_FAILS(bad, "base is NULL", shira_switch_apply(NULL, NULL));
  CHECK_FAILS(bad, "patch is NULL", shira_switch_apply(base, NULL));
  CHECK_FAILS(bad, "patch is NULL", shira_switch_switch_to(base, NULL));
  CHECK_FAILS(bad, "[shira_switch_revert] base is NULL", shira_switch_revert(NULL));
  CHECK_FAILS(bad, "base is NULL", shira_switch_is_applied(NULL, NULL));
  CHECK_FAILS(bad, "patch is NULL", shira_switch_patch_nnz(NULL, NULL));
  CHECK_FAILS(bad, "patch is NULL", shira_switch_patch_unchecked(NULL, NULL));
  CHECK_FAILS(bad, "base is NULL", shira_switch_lease_acquire(NULL, &lease));
  scaled.adapter = adapter = load("a");
  scaled.scale = strtod("nan", NULL);
  CHECK_FAILS(bad, "no finite number", shira_switch_resolve(base, &scaled, 1, 0, &patch));
  CHECK_OK(shira_switch_adapter_free(adapter));
  CHECK_OK(shira_switch_adapter_free(NULL));
  CHECK_OK(shira_switch_patch_free(NULL));
  CHECK_OK(shira_switch_lease_release(NULL));
  CHECK_OK(shira_switch_base_free(NULL));
  CHECK_OK(shira_switch_base_free(base));
}

static void test_files(void) {
  shira_switch_adapter* adapter = NULL;
  const shira_switch_status bad = SHIRA_SWITCH_BAD_FILE;
  CHECK_FAILS(bad, "no such adapter directory", shira_switch_adapter_load(path_of("no"), &adapter));
  CHECK_FAILS(bad, "adapter_config.json", shira_switch_adapter_load(work, &adapter));
  CHECK_FAILS(bad, "safetensors: tensor w: index codec",
              shira_switch_adapter_load(path_of("long"), &adapter));
  CHECK_FAILS(bad, "tensor w: it has a value that is NaN",
              shira_switch_adapter_load(path_of("nan"), &adapter));
  CHECK_FAILS(bad, "tensor w: it has a value that is NaN",
              shira_switch_adapter_load(path_of("whole_nan"), &adapter));
  CHECK(adapter == NULL);
}

static void test_leases(void) {
  float weights[6] = {0, 1, 2, 3, 4, 5};
  shira_switch_base* base = base_on(weights, "F32");
  shira_switch_patch* patch = resolve(base, "a", 1.0);
  shira_switch_lease* first = NULL;
  shira_switch_lease* second = NULL;
  CHECK_OK(shira_switch_lease_acquire(base, &first));
  CHECK_OK(shira_switch_lease_acquire(base, &second));
  CHECK_OK(shira_switch_lease_release(first));
  CHECK_FAILS(SHIRA_SWITCH_WRONG_STATE, "holds a lease", shira_switch_apply(base, patch));
  CHECK_FAILS(SHIRA_SWITCH_WRONG_STATE, "holds a lease", shira_switch_switch_to(base, patch));
  CHECK_FAILS(SHIRA_SWITCH_WRONG_STATE, "holds a lease", shira_switch_revert(base));
  CHECK_FAILS(SHIRA_SWITCH_WRONG_STATE, "holds a lease", shira_switch_base_free(base));
  CHECK(holds(weights, 1, 4));
  CHECK_OK(shira_switch_patch_free(resolve(base, "b", 1.0))); /* reading is no switch */
  CHECK_OK(shira_switch_lease_release(second));
  CHECK_OK(shira_switch_apply(base, patch));
  CHECK_OK(shira_switch_patch_free(patch));
  CHECK_OK(shira_switch_base_free(base));
}

static void write_adapters(void) {
  const float nines[6] = {9, 9, 9, 9, 9, 9};
  const float infinite[6] = {9, 9, 9, 9, 9, strtof("inf", NULL)};
  write_floats("a", 10, 40);
  write_floats("b", 100, 400);
  write_floats("nan", 10, strtof("nan", NULL));
  write_adapter("bytes", TWO_ENTRIES, TENSORS("I8", "2", "4"), "\x0a\x28\x01\x03", 4);
  write_adapter("long", TWO_ENTRIES, TENSORS("I8", "2", "4"), "\x0a\x28\x01\x05", 4);
  write_adapter("whole", HEADER "\"format_version\":\"2\"",
                "\"w.whole\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}", nines,
                sizeof(nines));
  write_adapter("whole_nan", HEADER "\"format_version\":\"2\"",
                "\"w.whole\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}", infinite,
                sizeof(infinite));
  write_adapter("removes", HEADER "\"format_version\":\"2\",\"removed\":\"[\\\"gone\\\"]\"",
                "\"v.whole\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}", nines,
                sizeof(nines));
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  work = argv[1];
  mkdir(work, 0777);
  CHECK(strcmp(shira_switch_version(), SHIRA_SWITCH_VERSION) == 0);
  CHECK(strcmp(shira_switch_last_error(), "") == 0);
  write_adapters();
  test_switching();
  test_several_adapters();
  test_any_dtype_is_copied();
  test_whole_tensors();
  test_misfits();
  test_descriptions();
  test_arguments();
  test_files();
  test_leases();
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
