"""A small byte-level CLIP tokenizer in which every word of the grammar is one token."""

import json
import random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from generation.engine.starter.captions import caption, meaningless
from generation.engine.starter.scenes import draw_scene
from generation.engine.starter.words import ADJECTIVES, BLAME, OTHER_WORDS, QUALITY

TOKENS_MAX = 64
START, END = "<|startoftext|>", "<|endoftext|>"
# The word pattern of CLIP, without its rule for the two markers.
WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
CAPTIONS = 20_000
COMMON_MIN = 8  # words rarer than this in the sampled captions are random litter


def _corpus() -> list[str]:
    rng = random.Random(0)
    counts: dict[str, int] = {}
    for _ in range(CAPTIONS):
        for text in (caption(draw_scene(rng), rng), meaningless(rng)):
            for word in text.replace(",", " ").replace("-", " ").split():
                counts[word] = counts.get(word, 0) + 1
    common = sorted(word for word, count in counts.items() if count >= COMMON_MIN)
    # Twice, so that whole words win over pieces when merges are counted; single letters keep unknown words spellable.
    return [*common, *common, *OTHER_WORDS, *" ".join((*ADJECTIVES, *QUALITY, *BLAME)).split()]


def build_tokenizer() -> CLIPTokenizer:
    """Learn the merges from sampled captions. Ties fall at random: keep the tokenizer with the encoder it taught."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Lowercase()
    split = pre_tokenizers.Split(WORDS, "removed", invert=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    merges = [tuple(pair) for pair in _merges(tokenizer)]
    entries = dict.fromkeys([*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(m) for m in merges)])
    vocabulary = {entry: index for index, entry in enumerate([*entries, START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS_MAX)


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in pairs]
