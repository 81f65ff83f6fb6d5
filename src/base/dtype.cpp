// The one table of element types.
#include <shira/base/dtype.h>

#include <array>

namespace shira {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t item_size;
};

constexpr std::array<DTypeRow, 19> kDTypes{{{DType::kF64, "F64", 8},
                                            {DType::kF32, "F32", 4},
                                            {DType::kF16, "F16", 2},
                                            {DType::kBF16, "BF16", 2},
                                            {DType::kI64, "I64", 8},
                                            {DType::kI32, "I32", 4},
                                            {DType::kU8, "U8", 1},
                                            {DType::kBool, "BOOL", 1},
                                            {DType::kI16, "I16", 2},
                                            {DType::kI8, "I8", 1},
                                            {DType::kU64, "U64", 8},
                                            {DType::kU32, "U32", 4},
                                            {DType::kU16, "U16", 2},
                                            {DType::kF8E4M3, "F8_E4M3", 1},
                                            {DType::kF8E5M2, "F8_E5M2", 1},
                                            {DType::kF8E8M0, "F8_E8M0", 1},
                                            {DType::kF8E4M3FNUZ, "F8_E4M3FNUZ", 1},
                                            {DType::kF8E5M2FNUZ, "F8_E5M2FNUZ", 1},
                                            {DType::kC64, "C64", 8}}};

}  // namespace

std::size_t item_size(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)].item_size; }

std::string_view dtype_name(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)].name; }

bool is_weight_dtype(DType dtype) { return dtype <= DType::kBF16; }

bool holds_exactly(DType wide, DType narrow) {
  if (wide == narrow) return true;
  if (!is_weight_dtype(wide) || !is_weight_dtype(narrow)) return false;
  return wide == DType::kF64 || (wide == DType::kF32 && narrow != DType::kF64);
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace shira
