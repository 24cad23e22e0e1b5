"""Detection checkpoints with random weights, small enough to build in a test.

They are written by `save_pretrained`, so that what is loaded is what a real checkpoint looks like.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="detection models need PyTorch")
transformers = pytest.importorskip("transformers", reason="detection models need transformers")
tokenizers = pytest.importorskip("tokenizers", reason="detection models need tokenizers")

LABELS = ("person", "car", "traffic light", "cat", "wine glass", "knife")
WORDS = ("cat", "dog", "red", "car", "of", "a", "detect", "person", "wheel", "##s", "mr", "smith")

_ATTENTION = {
    "encoder_layers": 1,
    "decoder_layers": 2,  # some tie the first to all others
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
}
_BOX_REFINER = {
    **_ATTENTION,
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "decoder_in_channels": [32, 32, 32],
    "feat_strides": [8, 16, 32],
    "num_queries": 30,
    "num_denoising": 0,
    "decoder_n_points": 2,
}
_SWIN = {
    "model_type": "swin",
    "image_size": 64,
    "embed_dim": 16,
    "depths": [1, 1, 1, 1],
    "num_heads": [2, 2, 2, 2],
    "window_size": 4,
    "hidden_size": 128,
}


def tiny_detr(folder: Path, seed: int = 0) -> Path:
    """DETR: 64 to 96 pixels, any shape; COCO's gap of a label that is none."""
    config = transformers.DetrConfig(
        **_ATTENTION,
        d_model=32,
        num_queries=20,
        backbone_config=_resnet(["stage4"]),
        use_timm_backbone=False,
        **_labels("N/A", *LABELS),
    )
    size = {"shortest_edge": 64, "longest_edge": 96}
    pictures = transformers.DetrImageProcessor(size=size)
    return _saved(folder, transformers.DetrForObjectDetection, config, pictures, seed=seed)


def tiny_rt_detr_v2(folder: Path, seed: int = 0) -> Path:
    """RT-DETR v2: 64x64 pixels."""
    backbone = {
        "model_type": "rt_detr_resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage2", "stage3", "stage4"],
    }
    config = transformers.RTDetrV2Config(
        **_BOX_REFINER,
        backbone_config=backbone,
        encoder_in_channels=[16, 24, 32],
        **_labels(*LABELS),
    )
    pictures = transformers.RTDetrImageProcessor(size={"height": 64, "width": 64})
    return _saved(folder, transformers.RTDetrV2ForObjectDetection, config, pictures, seed=seed)


def tiny_d_fine(folder: Path, seed: int = 0) -> Path:
    """D-FINE: 64x64 pixels."""
    backbone = {
        "model_type": "hgnet_v2",
        "depths": [1, 1, 1, 1],
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 8, 16, 24],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [8, 16, 24, 32],
        "hidden_sizes": [8, 16, 24, 32],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_downsample": [False, True, True, True],
        "stage_light_block": [False, False, True, True],
        "stage_kernel_size": [3, 3, 5, 5],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "out_indices": [2, 3, 4],
    }
    config = transformers.DFineConfig(
        **_BOX_REFINER,
        backbone_config=backbone,
        encoder_in_channels=[16, 24, 32],
        depth_mult=0.34,
        max_num_bins=8,
        **_labels(*LABELS),
    )
    pictures = transformers.RTDetrImageProcessor(size={"height": 64, "width": 64})
    return _saved(folder, transformers.DFineForObjectDetection, config, pictures, seed=seed)


def tiny_owlv2(folder: Path, seed: int = 0) -> Path:
    """OWLv2: 64x64 pixels in squares of 8, sixteen tokens a prompt."""
    tokenizer = _bpe(16)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2}
    config = transformers.Owlv2Config(
        text_config={
            **shape,
            **heads,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 16,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**shape, **heads, "image_size": 64, "patch_size": 8},
        projection_dim=32,
    )
    pictures = transformers.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    model = transformers.Owlv2ForObjectDetection
    return _saved(folder, model, config, pictures, tokenizer, seed=seed)


def tiny_grounding_dino(folder: Path, seed: int = 1) -> Path:
    """Grounding DINO: 96 to 144 pixels, any shape, 32 tokens in all."""
    return _grounded(folder, "GroundingDino", seed, loudness=0.15)


def tiny_llmdet(folder: Path, seed: int = 1) -> Path:
    """MM Grounding DINO, which LLMDet is: as above."""
    return _grounded(folder, "MMGroundingDino", seed, loudness=1.0)


def tiny_omdet_turbo(folder: Path, seed: int = 0) -> Path:
    """OmDet-Turbo: 64x64 pixels, 24 tokens a prompt."""
    tokenizer = _bpe(24)
    text = {
        "model_type": "clip_text_model",
        "vocab_size": len(tokenizer),
        "hidden_size": 48,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    config = transformers.OmDetTurboConfig(
        text_config=text,
        backbone_config={**_SWIN, "out_indices": [2, 3, 4]},
        use_timm_backbone=False,
        apply_layernorm_after_vision_backbone=False,
        image_size=64,
        text_projection_in_dim=48,
        text_projection_out_dim=48,
        task_encoder_hidden_dim=32,
        class_embed_dim=48,
        num_queries=30,
        encoder_hidden_dim=32,
        vision_features_channels=[32, 32, 32],
        encoder_in_channels=[32, 64, 128],
        encoder_attention_heads=2,
        encoder_dim_feedforward=32,
        decoder_hidden_dim=32,
        decoder_num_heads=2,
        decoder_num_layers=1,
        decoder_dim_feedforward=32,
    )
    size = {"height": 64, "width": 64}
    pictures = transformers.DetrImageProcessor(size=size, do_pad=False)
    model = transformers.OmDetTurboForObjectDetection
    return _saved(folder, model, config, pictures, tokenizer, seed=seed)


OTHERS = ("TableTransformer", "ConditionalDetr", "DeformableDetr", "DabDetr", "Yolos")
CLOSED = {"detr": tiny_detr, "rt-detr-v2": tiny_rt_detr_v2, "d-fine": tiny_d_fine}
ZERO_SHOT = {
    "owlv2": tiny_owlv2,
    "grounding-dino": tiny_grounding_dino,
    "llmdet": tiny_llmdet,
    "omdet-turbo": tiny_omdet_turbo,
}
BUILDERS = CLOSED | ZERO_SHOT


def tiny_other(folder: Path, name: str) -> Path:
    """One of the other architectures of fixed classes, by the beginning of its class's name."""
    backbone = {"use_timm_backbone": False}
    few = {**_ATTENTION, "d_model": 32, "num_queries": 20, **backbone}
    last, three = _resnet(["stage4"]), _resnet(["stage2", "stage3", "stage4"])
    options: dict[str, dict[str, Any]] = {
        "TableTransformer": {**few, "backbone_config": last},
        "ConditionalDetr": {**few, "backbone_config": last},
        "DeformableDetr": {
            **few,
            "backbone_config": three,
            "encoder_n_points": 2,
            "decoder_n_points": 2,
        },
        "DabDetr": {**few, "hidden_size": 32, "backbone_config": last},
        "Yolos": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": [64, 96],
            "patch_size": 16,
            "num_detection_tokens": 20,
        },
    }
    if name == "DabDetr":
        del options[name]["d_model"]
    config = getattr(transformers, f"{name}Config")(**options[name], **_labels(*LABELS))
    processor = "Detr" if name == "TableTransformer" else name.replace("Dab", "Conditional")
    size = {"shortest_edge": 64, "longest_edge": 96}
    pictures = getattr(transformers, f"{processor}ImageProcessor")(size=size)
    model = getattr(transformers, f"{name}ForObjectDetection")
    return _saved(folder, model, config, pictures, seed=0)


def _grounded(folder: Path, name: str, seed: int, loudness: float) -> Path:
    folder.mkdir(parents=True)
    tokenizer = _bert(folder)
    text = {
        "model_type": "bert",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    config = getattr(transformers, f"{name}Config")(
        **_ATTENTION,
        text_config=text,
        backbone_config={**_SWIN, "out_indices": [2, 3, 4]},
        d_model=32,
        num_queries=20,
        max_text_len=32,
        encoder_n_points=2,
        decoder_n_points=2,
    )
    size = {"shortest_edge": 96, "longest_edge": 144}
    pictures = transformers.GroundingDinoImageProcessor(size=size)
    model = getattr(transformers, f"{name}ForObjectDetection")
    return _saved(folder, model, config, pictures, tokenizer, seed=seed, loudness=loudness)


def _resnet(out_features: list[str]) -> dict[str, Any]:
    return {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": out_features,
    }


def _labels(*names: str) -> dict[str, Any]:
    id2label = dict(enumerate(names))
    return {"id2label": id2label, "label2id": {name: index for index, name in id2label.items()}}


def _bert(folder: Path) -> Any:
    """Words; the model knows its marks by BERT's own numbers."""
    vocabulary = [f"[unused{index}]" for index in range(1100)]
    for index, mark in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]"}.items():
        vocabulary[index] = mark
    vocabulary[103], vocabulary[1012], vocabulary[1029] = "[MASK]", ".", "?"
    vocabulary[1040 : 1040 + len(WORDS)] = WORDS
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    return transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)


def _bpe(longest: int) -> Any:
    """A byte-level tokenizer whose end mark has the highest number, as CLIP's has."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    marks = ("<pad>", "<start>", "<end>")
    inner.add_special_tokens(list(marks))
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<start> $A <end>",
        special_tokens=[(mark, inner.token_to_id(mark)) for mark in marks[1:]],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=longest,
    )


def _saved(
    folder: Path,
    model_class: Any,
    config: Any,
    pictures: Any,
    tokenizer: Any = None,
    *,
    seed: int,
    loudness: float | None = None,
) -> Path:
    """Weights as small as a fresh model's would say the same of every picture.

    With a `loudness`, of the last features, there are no biases: they would favour one word.
    """
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1 and weights.numel():
                weights.normal_(0.0, 1.0 / weights[0].numel() ** 0.5)
            elif loudness is None and not bool(weights.any()):
                weights.normal_(0.0, 0.3)
        if loudness is not None:
            model.model.decoder.layer_norm.weight.mul_(loudness)
    model.save_pretrained(folder)
    pictures.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder
