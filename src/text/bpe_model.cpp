// Byte-pair encoding (Sennrich et al. 2016) as huggingface/tokenizers has it, src/models/bpe: the
// pair of neighbours with the best rank is merged until there is none. One core for GPT-2's bytes,
// byte fallback and CLIP's ends of words.
#include "byte_alphabet.h"
#include "utf8.h"
#include "word_model.h"

#include <algorithm>
#include <array>
#include <queue>
#include <unordered_map>

namespace shira {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

struct Merge {
  std::int32_t rank = -1;  // -1: this pair is never merged
  std::int32_t id = -1;
};

/// Pairs of ids to merges: open addressing, at most half full.
class MergeTable {
 public:
  explicit MergeTable(std::size_t count) {
    std::size_t size = 16;
    while (size < 2 * count) size *= 2;
    slots_.resize(size);
  }

  /// The last merge of a pair counts.
  void add(std::int32_t left, std::int32_t right, Merge merge) {
    Slot& slot = slots_[index_of(key_of(left, right))];
    slot = {key_of(left, right), merge};
  }
  Merge find(std::int32_t left, std::int32_t right) const {
    return slots_[index_of(key_of(left, right))].merge;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    Merge merge;
  };
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
  }
  /// The slot of `key`, or the empty one where it belongs.
  std::size_t index_of(std::uint64_t key) const {
    const std::uint64_t mixed = key * 0x9E3779B97F4A7C15U;
    std::size_t index = (mixed ^ (mixed >> 32)) & (slots_.size() - 1);
    while (slots_[index].merge.rank >= 0 && slots_[index].key != key) {
      index = (index + 1) & (slots_.size() - 1);
    }
    return index;
  }

  std::vector<Slot> slots_;
};

/// A token of a word while it is merged.
struct Symbol {
  WordToken token;
  std::int32_t previous = -1;
  std::int32_t next = -1;
};

/// A merge that may be done; it is stale when a neighbour has been merged since.
struct Candidate {
  Merge merge;
  std::int32_t left = 0;                          // index of the symbol
  bool operator<(const Candidate& other) const {  // the queue gives the greatest
    return std::pair(merge.rank, left) > std::pair(other.merge.rank, other.left);
  }
};

class BpeModel : public WordModel {
 public:
  BpeModel(const JsonComponent& component, bool bytes);

  void tokenize(std::string_view word, std::vector<WordToken>& out) const override;
  std::optional<std::int32_t> id_of(const std::string& piece) const override;
  const std::vector<std::string>& pieces() const override { return pieces_; }
  std::int64_t size() const override { return std::ssize(ids_); }
  std::string_view cut_before() const override {
    return cuts_at_spaces_ ? kSpaceMark : std::string_view();
  }

 private:
  void read_vocabulary(const JsonComponent& component);
  void read_merges(const JsonComponent& component);
  void read_words(bool bytes);
  std::int32_t find_word(std::string_view text) const;
  void add_symbols(std::string_view word, std::vector<WordToken>& out) const;
  bool add_bytes(std::string_view character, std::vector<WordToken>& out) const;
  void merge_few(std::vector<WordToken>& tokens, std::size_t begin) const;
  void merge_many(std::vector<WordToken>& tokens, std::size_t begin) const;

  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, std::int32_t> ids_;    // of pieces_
  std::vector<std::string> raw_pieces_;                       // where words are bytes: as bytes
  std::unordered_map<std::string_view, std::int32_t> words_;  // what a word consists of -> id
  MergeTable merges_{0};
  std::array<std::int32_t, 256> byte_ids_{};  // of a byte: of "<0x0A>", or where words are bytes
  std::array<std::int32_t, 256> last_byte_ids_{};  // of a word's last byte, where words are bytes
  std::string suffix_;
  std::int32_t unknown_ = -1;
  std::optional<std::string> missing_unknown_;  // unk_token, if the vocabulary does not have it
  bool fuses_unknown_ = false;
  bool falls_back_ = false;
  bool ignores_merges_ = false;
  bool bytes_ = false;
  bool cuts_at_spaces_ = false;
};

void check_supported(const JsonComponent& component) {
  component.require(component.get("dropout", 0.0) == 0.0, "dropout is not supported");
  component.require(component.get<std::string>("continuing_subword_prefix", "").empty(),
                    "continuing_subword_prefix is not supported");
}

BpeModel::BpeModel(const JsonComponent& component, bool bytes)
    : suffix_(component.get<std::string>("end_of_word_suffix", "")),
      fuses_unknown_(component.get("fuse_unk", false)),
      falls_back_(component.get("byte_fallback", false)),
      ignores_merges_(component.get("ignore_merges", false)),
      bytes_(bytes) {
  check_supported(component);
  read_vocabulary(component);
  read_merges(component);
  read_words(bytes);
  if (component.is_null("unk_token")) return;
  const auto unknown = component.get<std::string>("unk_token");
  unknown_ = id_of(unknown).value_or(-1);
  if (unknown_ < 0) missing_unknown_ = unknown;
}

void BpeModel::read_vocabulary(const JsonComponent& component) {
  constexpr std::int64_t kMostPieces = 1 << 24;
  const JsonComponent object = component.at("vocab");
  object.require(object.json().is_object(), "has the wrong type");
  std::map<std::string, std::int64_t> vocabulary;
  for (const auto& [piece, value] : object.json().items()) {
    object.require(value.is_number_integer(), "the id of '" + piece + "': expected an integer");
    vocabulary.emplace(piece, value.get<std::int64_t>());
  }
  for (const auto& [piece, id] : vocabulary) {
    component.require(id >= 0 && id < kMostPieces, "vocab: id " + std::to_string(id));
    if (id >= std::ssize(pieces_)) pieces_.resize(static_cast<std::size_t>(id) + 1);
    pieces_[static_cast<std::size_t>(id)] = piece;
  }
  for (const auto& [piece, id] : vocabulary) {
    const std::string& stored = pieces_[static_cast<std::size_t>(id)];
    component.require(stored == piece, "vocab: two pieces have id " + std::to_string(id));
    ids_.emplace(stored, static_cast<std::int32_t>(id));
  }
}

/// "left right", or in newer files ["left", "right"].
std::pair<std::string, std::string> read_pair(const JsonComponent& merge) {
  if (merge.json().is_array()) {
    merge.require(merge.json().size() == 2, "expected two pieces");
    return merge.as<std::pair<std::string, std::string>>();
  }
  const auto text = merge.as<std::string>();
  const std::size_t space = text.find(' ');
  merge.require(space != text.npos, "expected two pieces");
  return {text.substr(0, space), text.substr(space + 1)};
}

void BpeModel::read_merges(const JsonComponent& component) {
  const std::vector<JsonComponent> merges = component.at("merges").list();
  merges_ = MergeTable(merges.size());
  cuts_at_spaces_ = ids_.contains(kSpaceMark) && suffix_.empty() && !ignores_merges_;
  std::int32_t rank = 0;
  for (const JsonComponent& merge : merges) {
    merge.require(merge.json().is_array() == merges.front().json().is_array(),
                  "texts and lists are mixed");
    const auto [left, right] = read_pair(merge);
    const auto left_id = id_of(left), right_id = id_of(right), id = id_of(left + right);
    merge.require(left_id && right_id && id, "a piece of '" + left + " " + right +
                                                 "' or what they make is not in the vocabulary");
    merges_.add(*left_id, *right_id, {rank++, *id});
    // Does the merged piece reach over a place where a space begins?
    const std::string whole = left + right;
    for (std::size_t at = whole.find(kSpaceMark); at != whole.npos;
         at = whole.find(kSpaceMark, at + kSpaceMark.size())) {
      const bool inside = at > 0 && !std::string_view(whole).substr(0, at).ends_with(kSpaceMark);
      cuts_at_spaces_ = cuts_at_spaces_ && !inside;
    }
  }
}

void BpeModel::read_words(bool bytes) {
  const auto find = [this](const std::string& piece) { return id_of(piece).value_or(-1); };
  for (int byte = 0; byte < 256; ++byte) {
    if (bytes) {
      byte_ids_[byte] = find(byte_characters()[byte]);
      last_byte_ids_[byte] = find(byte_characters()[byte] + suffix_);
    } else {
      byte_ids_[byte] = find(fallback_piece(static_cast<unsigned char>(byte)));
    }
  }
  if (!bytes) {
    words_ = ids_;
    return;
  }
  if (!ignores_merges_) return;
  raw_pieces_.reserve(pieces_.size());
  for (const auto& [piece, id] : ids_) {
    if (auto raw = bytes_of(piece)) {
      words_.emplace(raw_pieces_.emplace_back(std::move(*raw)), id);
    }
  }
}

std::optional<std::int32_t> BpeModel::id_of(const std::string& piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::int32_t BpeModel::find_word(std::string_view text) const {
  const auto found = words_.find(text);
  return found == words_.end() ? -1 : found->second;
}

/// All bytes of a character as "<0x..>", if all of them have such a piece.
bool BpeModel::add_bytes(std::string_view character, std::vector<WordToken>& out) const {
  const auto id = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (std::any_of(character.begin(), character.end(), [&](char c) { return id(c) < 0; })) {
    return false;
  }
  for (const char c : character) out.push_back({id(c), 1});
  return true;
}

/// The characters of `word`, or where words are bytes its bytes.
void BpeModel::add_symbols(std::string_view word, std::vector<WordToken>& out) const {
  WordToken unknown{unknown_, 0};  // those that wait to become one
  const auto flush = [&] {
    if (unknown.bytes > 0) out.push_back(unknown);
    unknown.bytes = 0;
  };
  std::string with_suffix;
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t size = bytes_ ? 1 : utf8_size(word, i);
    const bool is_last = i + size == word.size();
    const std::string_view character = word.substr(i, size);
    i += size;
    std::int32_t id = -1;
    if (bytes_) {
      id = (is_last ? last_byte_ids_ : byte_ids_)[static_cast<unsigned char>(character[0])];
    } else if (is_last && !suffix_.empty()) {
      with_suffix.assign(character).append(suffix_);
      id = find_word(with_suffix);
    } else {
      id = find_word(character);
    }
    if (id >= 0) {
      flush();
      out.push_back({id, static_cast<std::uint32_t>(size)});
    } else if (falls_back_ && !bytes_ && add_bytes(character, out)) {
      continue;
    } else if (unknown_ >= 0) {
      if (!fuses_unknown_) flush();
      unknown.bytes += static_cast<std::uint32_t>(size);
    } else if (missing_unknown_) {
      throw IoError(detail::concat("'", character, "' has no piece, and the unk_token '",
                                   *missing_unknown_, "' is not in the vocabulary."));
    }
  }
  flush();
}

/// For short words: looks at all pairs for each merge.
void BpeModel::merge_few(std::vector<WordToken>& tokens, std::size_t begin) const {
  while (tokens.size() - begin > 1) {
    Merge best;
    std::size_t at = 0;
    for (std::size_t i = begin; i + 1 < tokens.size(); ++i) {
      const Merge merge = merges_.find(tokens[i].id, tokens[i + 1].id);
      if (merge.rank >= 0 && (best.rank < 0 || merge.rank < best.rank)) {
        best = merge;
        at = i;
      }
    }
    if (best.rank < 0) return;
    tokens[at] = {best.id, tokens[at].bytes + tokens[at + 1].bytes};
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

/// For long ones: a queue of the pairs, n log n.
void BpeModel::merge_many(std::vector<WordToken>& tokens, std::size_t begin) const {
  const auto count = static_cast<std::int32_t>(tokens.size() - begin);
  std::vector<Symbol> symbols(static_cast<std::size_t>(count));
  std::priority_queue<Candidate> queue;
  const auto offer = [&](std::int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const Merge merge = merges_.find(symbols[left].token.id, symbols[symbols[left].next].token.id);
    if (merge.rank >= 0) queue.push({merge, left});
  };
  for (std::int32_t i = 0; i < count; ++i) {
    symbols[i] = {tokens[begin + static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1};
  }
  for (std::int32_t i = 0; i < count; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate candidate = queue.top();
    queue.pop();
    Symbol& left = symbols[candidate.left];
    if (left.token.bytes == 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    const Merge merge = merges_.find(left.token.id, right.token.id);
    if (merge.rank < 0 || merge.id != candidate.merge.id) continue;  // stale
    left.token = {merge.id, left.token.bytes + right.token.bytes};
    right.token.bytes = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = candidate.left;
    offer(left.previous);
    offer(candidate.left);
  }
  tokens.resize(begin);
  for (const Symbol& symbol : symbols) {
    if (symbol.token.bytes > 0) tokens.push_back(symbol.token);
  }
}

void BpeModel::tokenize(std::string_view word, std::vector<WordToken>& out) const {
  constexpr std::size_t kFew = 24;
  if (ignores_merges_) {
    if (const std::int32_t id = find_word(word); id >= 0) {
      out.push_back({id, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  const std::size_t begin = out.size();
  add_symbols(word, out);
  out.size() - begin <= kFew ? merge_few(out, begin) : merge_many(out, begin);
}

}  // namespace

std::unique_ptr<WordModel> make_bpe_model(const JsonComponent& component, bool bytes) {
  return std::make_unique<BpeModel>(component, bytes);
}

}  // namespace shira
