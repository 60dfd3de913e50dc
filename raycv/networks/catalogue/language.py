"""Hugging Face's language models from a local folder: causal and masked ones, encoders and state-space models.

They see tokens (B, context), ``raycv.data.tokenizing.PADDING`` behind the end of a text, and give what the last block
gives: the logits over a vocabulary would take a hundred times the memory of any layer, and are no layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from raycv.data.tokenizing import PADDING, Tokens, ids_of, largest_token, tokens_of
from raycv.errors import UserError


def class_name(config: Mapping[str, Any]) -> str | None:
    """The class of a model of language, by what its configuration asks for; None where it is no such."""
    from transformers.models.auto import modeling_auto as known

    kind, asked = config.get("model_type"), list(config.get("architectures") or ())
    if not isinstance(kind, str):
        return None
    heads = (known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, known.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    encoders = known.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
    there = [name for names in (*heads, encoders) for name in _listed(names.get(kind))]
    has_decoder = config.get("is_encoder_decoder")  # which sees another text, or an encoder that sees none
    bare = _listed(known.MODEL_MAPPING_NAMES.get(kind)) if there and not has_decoder else []
    chosen = [name for name in (*there, *bare) if name in asked]
    if chosen:
        return chosen[0]
    both = _listed(known.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.get(kind))  # of which the encoder reads a text
    return next(iter(_listed(encoders.get(kind))), None) if any(name in asked for name in both) else None


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def sequences(folder: str, config: Mapping[str, Any], context: int, *, ids: bool = False) -> Tokens:
    """How documents, or the token ``ids`` that they are, become sequences of a model.

    Raises UserError where its tokenizer does not suit it, or it is not known how many tokens it knows.
    """
    tokens = _ids(folder, config, context) if ids else tokens_of(folder, context)
    longest = longest_of(config)
    if longest is not None and context > longest:
        raise UserError(f"--context is {context:,}, and the model in {folder} sees at most {longest:,} tokens.")
    if ids:
        return tokens
    embedded, largest = _embedded(config), largest_token(folder)
    if embedded is not None and largest >= embedded:
        raise UserError(
            f"The tokenizer in {folder} numbers tokens up to {largest:,}, and the model has {embedded:,} embeddings; "
            "name a folder in which both belong together, or give the model as many embeddings."
        )
    return tokens


def longest_of(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model sees at most, as its configuration says; None where it does not."""
    named = next((config[name] for name in ("max_position_embeddings", "n_positions") if config.get(name)), None)
    return named if isinstance(named, int) and config.get("model_type") != "t5" else None


def _embedded(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model knows, as its configuration says; None where it does not."""
    found = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    return found if isinstance(found, int) and found > 0 else None


def _ids(folder: str, config: Mapping[str, Any], context: int) -> Tokens:
    known = _embedded(config)
    if known is None:
        raise UserError(
            f"The config.json in {folder} has no vocab_size, without which token ids cannot be checked; give texts and "
            "a tokenizer beside the model."
        )
    ends = config.get("eos_token_id")
    special = [config.get("pad_token_id"), *(ends if isinstance(ends, list) else [ends])]
    return ids_of(folder, context, known, [one for one in special if isinstance(one, int) and 0 <= one < known])


def of_texts(net: nn.Module, tokens: Tokens) -> nn.Module:
    """The same network, called with tokens and returning one tensor; its module paths stay as they are."""
    if tokens.words and "attention_mask" not in inspect.signature(type(net).forward).parameters:
        raise UserError(
            f"{tokens.folder} takes no attention_mask, without which texts of different lengths cannot be put "
            "together; compare it with models of the same tokenizer."
        )
    net.__class__ = _class_of_texts(type(net), padded=tokens.words is not None)
    return net


def _class_of_texts(kind: Any, *, padded: bool) -> type[nn.Module]:
    """A class like ``kind`` that is called with tokens; unlike a function in a network it follows its copies."""

    class OfTexts(kind):  # type: ignore[misc]
        def forward(self, tokens: Tensor) -> Tensor:
            more = {"attention_mask": (tokens != PADDING).long()} if padded else {}
            body = self.base_model
            run = super().forward if body is self else body
            found: Any = run(input_ids=tokens.clamp(min=0), **more)
            values: Tensor = found.last_hidden_state
            return values

    OfTexts.__name__, OfTexts.__qualname__, OfTexts.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return OfTexts
