"""The models that can be fetched by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KnownModel:
    """A published model."""

    name: str
    purpose: str
    """Which service it is for, and as what."""
    repo: str
    """Repository on the Hugging Face hub."""
    license: str
    size_mb: int | None = None
    """About how much is fetched, in 10^6 bytes; None: not known before."""
    sha256s: Mapping[str, str] = field(default_factory=dict)
    """Its files and what they have to be. Empty: a folder as `save_pretrained` writes it, whose
    commit and hashes are recorded when it is first pulled and held to afterwards."""

    @property
    def service(self) -> str:
        """Which service it is for, such as `captioner`."""
        return self.purpose.partition(":")[0]


def _sam2(size: str, sha256: str, size_mb: int) -> KnownModel:
    return KnownModel(
        name=f"sam2.1-hiera-{size}",
        purpose="segmenter: masks (SAM 2.1)",
        repo=f"facebook/sam2.1-hiera-{size}",
        license="Apache-2.0",
        size_mb=size_mb,
        sha256s={f"sam2.1_hiera_{size.replace('-', '_')}.pt": sha256},
    )


KNOWN = (
    _sam2("large", "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318", 898),
    _sam2("base-plus", "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5", 324),
    _sam2("small", "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38", 184),
    _sam2("tiny", "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69", 156),
    *(
        KnownModel(name, f"detector: {what}", repo, "Apache-2.0", size_mb)
        for name, what, repo, size_mb in (
            ("dfine-large-coco", "80 things, the best", "ustc-community/dfine-large-coco", 126),
            ("rtdetr-v2-r50vd", "80 things", "PekingU/rtdetr_v2_r50vd", 172),
            ("detr-resnet-101", "80 things", "facebook/detr-resnet-101", 243),
            (
                "omdet-turbo-swin-tiny",
                "any words, the quickest",
                "omlab/omdet-turbo-swin-tiny-hf",
                462,
            ),
            ("llmdet-tiny", "any words, the best", "iSEE-Laboratory/llmdet_tiny", None),
            ("grounding-dino-tiny", "any words", "IDEA-Research/grounding-dino-tiny", 690),
            (
                "owlv2-base-patch16-ensemble",
                "any words",
                "google/owlv2-base-patch16-ensemble",
                620,
            ),
        )
    ),
    KnownModel(
        name="blip-image-captioning-base",
        purpose="captioner: one sentence",
        repo="Salesforce/blip-image-captioning-base",
        license="BSD-3-Clause",
        size_mb=990,
    ),
    KnownModel(
        name="florence-2-base",
        purpose="captioner: short to long",
        repo="florence-community/Florence-2-base",
        license="MIT",
    ),
    KnownModel(
        name="smolvlm2-500m-video-instruct",
        purpose="captioner: pictures and clips",
        repo="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        license="Apache-2.0",
    ),
    KnownModel(
        name="sface",
        purpose="faces: names (yunet-sface)",
        repo="opencv/face_recognition_sface",
        license="Apache-2.0",
        size_mb=39,
        sha256s={
            "face_recognition_sface_2021dec.onnx": (
                "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
            )
        },
    ),
)


def known_models(service: str) -> tuple[KnownModel, ...]:
    """Those of one service, the one that its `auto` prefers first."""
    return tuple(known for known in KNOWN if known.service == service)


def known_model(name: str) -> KnownModel:
    """The model of that name.

    Raises:
        KeyError: there is none; says which there are.
    """
    for known in KNOWN:
        if known.name == name:
            return known
    raise KeyError(f"expected one of {', '.join(known.name for known in KNOWN)}, found {name!r}")
