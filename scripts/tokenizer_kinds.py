"""Tokenizers of every kind, trained by the `tokenizers` package on a text that is made up, and texts to try them with."""

import json
import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace("{1,3}", "")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

SPACES = ["  ", "   ", "\t", "\n", "\r\n", "\n\n\n", " \n ", "\u00a0", "\u3000", "\u2028", "\u0085", "\u180e", "\u200b", "\x1f", "\v\f"]
WORDS = (
    "the river Running don't I'LL it's we've they'Re x's stra\u00dfe na\u00efve \u0130stanbul caf\u00e9 cafe\u0301 1984 27.5 3,000,000 "
    "\u0663\u0664\u0665 \u216b \u00bd \u4f60\u597d\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \u30d7\u30ed \u304c\u304b\u3099 \ud55c\uae00 "
    "\u1112\u1161\u11ab \u0915\u094d\u0937\u093f \u0645\u0631\u062d\u0628\u064b\u0627 \u05e9\u05c1\u05dc\u05d5\u05dd \u0440\u0435\u043a\u0430 "
    "\u0439\u0438\u0306 \ufb01ne \uff21\uff22\uff23 \u2460 \u1e9b\u0323 \u212b A\u030a a\u0323\u0302 \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 "
    "\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea snake_case camelCase http://a.b/c?d=e&f --help $x^2 `code` <b> ... !? \u201cquoted\u201d \u2014 \u2019s "
    "\u017f's 'S \u212a \u0f77 \u0344 \ud834\udd5e \u2126 \ufdfa"
).encode("utf-16", "surrogatepass").decode("utf-16").split(" ")
MARKS = ["<s>", "</s>", "<unk>", "<0x41>", "\u2581", "</w>", "<|endoftext|>", "<|startoftext|>", "<|im_start|>", "<mask>", "wordly", "[STRIP]"]


PUNCTUATION = pre_tokenizers.Punctuation()


def is_settled(character):
    """Whether it is assigned, and the package's tables, which are of an older Unicode than Python's, agree about it."""
    category = unicodedata.category(character)
    return (
        category not in ("Cn", "Cs", "Co")
        and normalizers.NFKD().normalize_str(character) == unicodedata.normalize("NFKD", character)
        and (normalizers.StripAccents().normalize_str(character) == "") == category.startswith("M")
        and (len(PUNCTUATION.pre_tokenize_str("a" + character)) == 2) == (category[0] == "P" or character in "$+<=>^`|~")
    )


def random_character(random_):
    while True:
        limit = random_.choice([0x250, 0x3100, 0x20000, 0x110000])
        code = random_.randrange(limit)
        if not 0xD800 <= code < 0xE000 and is_settled(chr(code)):
            return chr(code)


def random_texts(count, seed, characters=True):
    random_ = random.Random(seed)
    texts = ["", " ", "  ", "\n", "a", " a", "a ", "\u2581", "\u0301", "\U0001f600"]
    while len(texts) < count:
        parts = []
        for _ in range(random_.randrange(1, 14)):
            kind = random_.random()
            if kind < 0.62:
                parts.append(random_.choice(WORDS))
            elif kind < 0.72:
                parts.append(random_.choice(SPACES))
            elif kind < 0.77:
                parts.append(random_.choice(MARKS))
            elif kind < 0.85 and characters:
                parts.append("".join(random_character(random_) for _ in range(random_.randrange(1, 4))))
            elif kind < 0.88:
                parts.append(random_.choice(WORDS)[:1] * random_.randrange(2, 60))
            if random_.random() < 0.7:
                parts.append(" ")
        texts.append("".join(parts))
    return texts


def special(content, **flags):
    return AddedToken(content, special=True, normalized=False, **flags)


ADDED = [
    special("<|endoftext|>"),
    special("<|startoftext|>"),
    special("<|im_start|>"),
    special("<mask>", lstrip=True),
    AddedToken("wordly", single_word=True, normalized=True),
    AddedToken("[STRIP]", rstrip=True, normalized=True),
]


def byte_level(pattern=None, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if pattern:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        byte_step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_step])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=1200, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )


def gpt2():
    return byte_level()


def gpt2_with_space():
    tokenizer, trainer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer, trainer


def llama3():
    tokenizer, trainer = byte_level(LLAMA3, ignore_merges=True)
    template = processors.TemplateProcessing("<|startoftext|> $A", "$A $B", [("<|startoftext|>", 1)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer, trainer


def qwen2():
    tokenizer, trainer = byte_level(QWEN)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer, trainer


def deepseek():
    """Several cuts, one after the other."""
    tokenizer, trainer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\r\n]"), "isolated"),
            pre_tokenizers.Split(Regex(r"\s?\p{L}+"), "isolated"),
            pre_tokenizers.Split(Regex(r"\s?\p{P}+"), "merged_with_next"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer, trainer


def clip():
    tokenizer, trainer = byte_level()
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 0), ("<|startoftext|>", 1), False, False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, show_progress=False, initial_alphabet=alphabet, end_of_word_suffix="</w>"
    )
    return tokenizer, trainer


def byte_fallback():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=1200, show_progress=False, special_tokens=["<unk>", "<s>", "</s>", *bytes_], limit_alphabet=150
    )
    return tokenizer, trainer


def llama2():
    """As converted from LLaMA-2's tokenizer.model."""
    tokenizer, trainer = byte_fallback()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    return tokenizer, trainer


def mistral():
    """As newer exports have it."""
    tokenizer, trainer = byte_fallback()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer, trainer


def unknown():
    """Characters without a piece, one by one; words at white space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits()]
    )
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, special_tokens=["<unk>"], limit_alphabet=90, end_of_word_suffix="</w>"
    )
    return tokenizer, trainer


def words():
    tokenizer, _ = byte_fallback()
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.BpeTrainer(vocab_size=600, show_progress=False, special_tokens=["<unk>"], limit_alphabet=120)


def unigram():
    """As converted from a sentencepiece model of that kind, with its compiled normalisation."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(compiled_rules()), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("\u2581", prepend_scheme="always")
    return tokenizer, trainers.UnigramTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>", "<s>"], unk_token="<unk>")


def compiled_rules():
    """sentencepiece's NFKC rules."""
    import io

    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f"] * 20), model_writer=model, vocab_size=12, minloglevel=2, hard_vocab_limit=False
    )
    return sentencepiece_model_pb2.ModelProto.FromString(model.getvalue()).normalizer_spec.precompiled_charsmap


KINDS = {
    kind.__name__: kind
    for kind in (gpt2, gpt2_with_space, llama3, qwen2, deepseek, clip, llama2, mistral, unknown, words, unigram)
}


def train_tokenizer(kind, texts, vocabulary=None):
    tokenizer, trainer = KINDS[kind]()
    if vocabulary:
        trainer.vocab_size = vocabulary
    if kind != "llama2":
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer
    # As sentencepiece trains: no piece reaches over a space.
    pieces = tokenizer.normalizer, tokenizer.pre_tokenizer
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Sequence([]), pre_tokenizers.Metaspace("\u2581")
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.normalizer, tokenizer.pre_tokenizer = pieces
    return tokenizer


def make_tokenizer(kind, directory):
    """Trains one and saves it as directory/tokenizer.json."""
    tokenizer = train_tokenizer(kind, random_texts(1500, seed=1, characters=False))
    tokenizer.add_tokens(ADDED)
    return save_tokenizer(kind, tokenizer, directory)


def save_tokenizer(kind, tokenizer, directory):
    description = json.loads(tokenizer.to_str())
    if kind == "unigram":
        # The package reads numbers of 17 digits to the last bit but one, which decides between paths of equal score.
        description["model"]["vocab"] = [[piece, round(score, 9)] for piece, score in description["model"]["vocab"]]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(description))
    return Tokenizer.from_file(str(directory / "tokenizer.json"))
