// Unigram language model (Kudo 2018) as huggingface/tokenizers has it, src/models/unigram: the best
// path by Viterbi's algorithm over all pieces that begin at each character.
#include "aligned_text.h"
#include "byte_alphabet.h"
#include "utf8.h"
#include "word_model.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

namespace shira {
namespace {

class UnigramModel : public WordModel {
 public:
  explicit UnigramModel(const JsonComponent& component);

  void tokenize(std::string_view word, std::vector<WordToken>& out) const override;
  std::optional<std::int32_t> id_of(const std::string& piece) const override {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  const std::vector<std::string>& pieces() const override { return pieces_; }
  std::int64_t size() const override { return std::ssize(pieces_); }

 private:
  /// The best way to a place in the word.
  struct Arrival {
    double score = 0.0;
    std::size_t from = kNowhere;
    std::int32_t id = 0;
  };
  static constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();

  /// A node of the trie of all pieces: its children are sorted by byte.
  struct Node {
    std::int32_t id = -1;
    std::vector<std::pair<unsigned char, std::int32_t>> children;
  };
  void insert(std::string_view piece, std::int32_t id);
  std::int32_t child(std::int32_t node, unsigned char byte) const;

  std::vector<Arrival> best_paths(std::string_view word) const;
  void add_piece(std::string_view piece, std::vector<WordToken>& out) const;

  std::vector<std::string> pieces_;
  std::vector<double> scores_;
  std::unordered_map<std::string_view, std::int32_t> ids_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::int32_t unknown_ = -1;
  double unknown_score_ = 0.0;
  bool falls_back_ = false;
};

UnigramModel::UnigramModel(const JsonComponent& component)
    : falls_back_(component.get("byte_fallback", false)) {
  constexpr double kUnknownPenalty = 10.0;
  for (const JsonComponent& entry : component.at("vocab").list()) {
    entry.require(entry.json().size() == 2, "expected a piece and its score");
    auto [piece, score] = entry.as<std::pair<std::string, double>>();
    pieces_.push_back(std::move(piece));
    scores_.push_back(score);
  }
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    ids_.insert_or_assign(pieces_[i], static_cast<std::int32_t>(i));
    if (!pieces_[i].empty()) insert(pieces_[i], static_cast<std::int32_t>(i));
  }
  component.require(!component.is_null("unk_id"),
                    "a Unigram model without unk_id is not supported");
  const auto unknown = component.get<std::int64_t>("unk_id");
  component.require(unknown >= 0 && unknown < std::ssize(pieces_),
                    "unk_id is not in the vocabulary");
  unknown_ = static_cast<std::int32_t>(unknown);
  unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
}

void UnigramModel::insert(std::string_view piece, std::int32_t id) {
  std::int32_t node = 0;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    std::int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      auto& children = nodes_[node].children;
      const std::pair entry(byte, next);
      children.insert(std::upper_bound(children.begin(), children.end(), entry), entry);
      nodes_.emplace_back();
    }
    node = next;
  }
  nodes_[node].id = id;
}

std::int32_t UnigramModel::child(std::int32_t node, unsigned char byte) const {
  const auto& children = nodes_[node].children;
  const auto found = std::lower_bound(children.begin(), children.end(), std::pair(byte, -1));
  return found != children.end() && found->first == byte ? found->second : -1;
}

std::vector<UnigramModel::Arrival> UnigramModel::best_paths(std::string_view word) const {
  std::vector<Arrival> arrivals(word.size() + 1);
  const auto arrive = [&](std::size_t at, Arrival arrival) {
    if (arrivals[at].from == kNowhere || arrival.score > arrivals[at].score) arrivals[at] = arrival;
  };
  for (std::size_t start = 0; start < word.size();) {
    const double score = arrivals[start].score;
    const std::size_t character = utf8_size(word, start);
    bool has_character = false;
    std::int32_t node = 0;
    for (std::size_t i = start; i < word.size(); ++i) {
      node = child(node, static_cast<unsigned char>(word[i]));
      if (node < 0) break;
      const std::int32_t id = nodes_[node].id;
      if (id < 0) continue;
      arrive(i + 1, {scores_[id] + score, start, id});
      has_character = has_character || i + 1 - start == character;
    }
    if (!has_character) {
      arrive(start + character, {unknown_score_ + score, start, unknown_});
    }
    start += character;
  }
  return arrivals;
}

/// A piece of the vocabulary, or characters without one: as bytes or as the unknown piece.
void UnigramModel::add_piece(std::string_view piece, std::vector<WordToken>& out) const {
  const auto found = ids_.find(piece);
  if (found != ids_.end()) {
    out.push_back({found->second, static_cast<std::uint32_t>(piece.size())});
    return;
  }
  const std::size_t begin = out.size();
  for (const char c : piece) {
    const auto id = id_of(fallback_piece(static_cast<unsigned char>(c)));
    if (!falls_back_ || !id) {
      out.resize(begin);
      out.push_back({unknown_, static_cast<std::uint32_t>(piece.size())});
      return;
    }
    out.push_back({*id, 1});
  }
}

void UnigramModel::tokenize(std::string_view word, std::vector<WordToken>& out) const {
  const std::vector<Arrival> arrivals = best_paths(word);
  std::vector<TextRange> reversed;
  bool after_unknown = false;
  for (std::size_t end = word.size(); end > 0; end = arrivals[end].from) {
    const bool is_unknown = arrivals[end].id == unknown_;
    if (is_unknown && after_unknown) {
      reversed.back().begin = arrivals[end].from;  // neighbours are one
    } else {
      reversed.push_back({arrivals[end].from, end});
    }
    after_unknown = is_unknown;
  }
  for (auto span = reversed.rbegin(); span != reversed.rend(); ++span) {
    add_piece(word.substr(span->begin, span->end - span->begin), out);
  }
}

}  // namespace

std::unique_ptr<WordModel> make_unigram_model(const JsonComponent& component) {
  return std::make_unique<UnigramModel>(component);
}

}  // namespace shira
