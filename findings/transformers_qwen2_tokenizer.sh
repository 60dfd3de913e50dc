#!/usr/bin/env bash
# Library:   transformers 5.24.0 (tokenizers 0.23.3), PreTrainedTokenizerFast.save_pretrained and AutoTokenizer.
# Guess:     a fast tokenizer that was saved comes back with the tokens it made before: tokenizer.json holds all of it, and
#            tokenizer_config.json names its class.
# Seen:      beside the config.json of a Qwen2 model it does not. What comes back is a Qwen2Tokenizer made anew around the
#            saved vocabulary, with Qwen2's own normaliser and splitting and one more token: a decomposed accent becomes
#            other tokens, and the tokenizer has one token more than the model has embeddings. The same folder with the
#            config.json of a GPT-NeoX model gives back what was saved.
# Source:    transformers/models/auto/tokenization_auto.py, MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS: of these types of
#            models the class of the type comes before the one that was saved.
# Output:    gpt_neox 257 257 True
#            qwen2 257 258 False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.24.0 tokenizers==0.23.3
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

alphabet = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
made = Tokenizer(models.BPE({token: number for number, token in enumerate(alphabet)}, []))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
saved = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")
text = "cafe\u0301"
seen = {}
for kind in ("gpt_neox", "qwen2"):
    folder = Path(sys.argv[1]) / kind
    saved.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    back = AutoTokenizer.from_pretrained(folder)
    seen[kind] = len(saved), len(back), saved(text)["input_ids"] == back(text)["input_ids"]
    print(kind, *seen[kind])
assert seen == {"gpt_neox": (257, 257, True), "qwen2": (257, 258, False)}, seen
PYTHON
