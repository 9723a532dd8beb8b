"""Which work a model is from: by whole words of its name, and never by a part of one."""

from __future__ import annotations

import re

import pytest

from mmgenre.frozen.citations import IMAGENET, WORKS, Work, card_of, work_of
from mmgenre.frozen.known import KNOWN
from mmgenre.image.backbones import BACKBONES


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hf:m-a-p/MERT-v1-330M", "li2024mert"),
        ("hf:someone/summertime", None),
        ("hf:laion/larger_clap_music", "wu2023clap"),
        ("hf:microsoft/msclap", None),  # another CLAP
        ("dir:models/clap", None),
        ("hf:openai/clip-vit-base-patch32", "radford2021clip"),
        ("hf:google/siglip-base-patch16-224", None),  # not the second one
        ("hf:google/vit-base-patch16-224", "dosovitskiy2021vit"),
        ("hf:facebook/dinov3-vitb16-pretrain-lvd1689m", None),
        ("timm:resnet50.a1_in1k", "he2016resnet"),
        ("resnet-101", "he2016resnet"),
        ("vgg-16", "simonyan2015vgg"),
        ("vit-b-16", "dosovitskiy2021vit"),
        ("cnn-5x5", None),  # our own
    ],
)
def test_a_model_has_its_own_work(name: str, key: str | None) -> None:
    work = work_of(name)
    assert (work and work.key) == key


def test_every_model_that_is_listed_has_a_work() -> None:
    assert all(work_of(f"hf:{name}") for name in KNOWN)
    named = {name for name in BACKBONES if work_of(name)}
    assert set(BACKBONES) - named == {"cnn-5x5", "cnn-6-blocks", "cnn-10x10"}  # our own


@pytest.mark.parametrize("listed", WORKS, ids=lambda listed: listed.key)
def test_an_entry_is_whole(listed: tuple[str, ...]) -> None:
    work = Work(*listed[1:])  # type: ignore[arg-type]
    entry = work.bibtex
    assert entry.count("{") == entry.count("}")
    assert re.match(rf"@(article|inproceedings|misc)\{{{work.key},\n", entry)
    assert str(work.year) in work.key
    assert ("eprint = {2" in entry) == work.where.startswith("arXiv:")
    assert re.fullmatch(r"(arXiv:\d{4}\.\d{5}|[A-Z][A-Za-z ]+)", work.where)
    for author in work.authors.split(" and "):
        assert author == "others" or re.fullmatch(r"[\w .-]+, [\w .-]+", author)


def test_keys_are_unique() -> None:
    keys = [listed.key for listed in WORKS]
    assert len({*keys, IMAGENET.key}) == len(keys) + 1


def test_a_model_that_is_not_listed_is_cited_by_its_card_alone() -> None:
    card = card_of("hf:someone/Some_Model-2")
    assert card is not None
    assert card.bibtex.splitlines() == [
        "@misc{someone-some-model-2,",
        "  title = {{someone/Some_Model-2}},",
        "  url = {https://huggingface.co/someone/Some_Model-2}",
        "}",
    ]
    assert card_of("dir:/models/mine") is None
    assert card_of("timm:resnet50") is None
