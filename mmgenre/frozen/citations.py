"""What to cite for models of others, by their names: those of `mmgenre.frozen.known`, backbones.

Titles, authors, years, venues and numbers were compared in November 2026 with what the authors'
repositories and model cards ask to be cited, and with the proceedings. Where they name more than
six authors, the first stands here "and others".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Work:
    """A published work, or a model of which its card alone is known, at `url`.

    `where`: journal, proceedings, or an arXiv number as `arXiv:NUMBER`.
    """

    key: str
    authors: str  # as BibTeX has them
    title: str
    where: str
    year: int
    doi: str | None = None
    url: str | None = None

    @property
    def bibtex(self) -> str:
        """A BibTeX entry."""
        number = self.where.removeprefix(ARXIV)
        is_number = number != self.where
        kind, field = _kind(self.where) if self.where and not is_number else ("misc", "")
        fields = {"author": self.authors, "title": f"{{{self.title}}}"}
        if is_number:
            fields |= {"eprint": number, "archivePrefix": "arXiv"}
        elif field:
            fields[field] = self.where
        fields |= {"year": str(self.year) if self.year else "", "doi": self.doi or ""}
        fields["url"] = self.url or ""
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        return f"@{kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


ARXIV = "arXiv:"
HUB = "https://huggingface.co/"


def _kind(where: str) -> tuple[str, str]:
    journal = re.search(r"J\. |Journal|Trans\.|Transactions|TISMIR", where)
    return ("article", "journal") if journal else ("inproceedings", "booktitle")


IMAGENET = Work(
    "deng2009imagenet", "Deng, Jia and Dong, Wei and Socher, Richard and Li, Li-Jia and Li, Kai "
    "and Fei-Fei, Li", "ImageNet: A Large-Scale Hierarchical Image Database", "CVPR", 2009,
    "10.1109/CVPR.2009.5206848",
)  # fmt: skip


class Listed(NamedTuple):
    """A work, and the words in the names of its models: `mert` in `m-a-p/MERT-v1-95M`.

    Words that belong together are separated by spaces, other names of the same by `|`.
    """

    words: str
    key: str
    authors: str
    title: str
    where: str
    year: int


# The first of which all words are in a name counts; a part of a longer word is none. More special
# ones first: names of CLIP also say which transformer it is.
WORKS: tuple[Listed, ...] = (
    Listed("mert", "li2024mert", "Li, Yizhi and others",
           "MERT: Acoustic Music Understanding Model with Large-Scale Self-supervised Training",
           "ICLR", 2024),
    Listed("laion clap", "wu2023clap",
           "Wu, Yusong and Chen, Ke and Zhang, Tianyu and Hui, Yuchen and Berg-Kirkpatrick, Taylor "
           "and Dubnov, Shlomo",
           "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and "
           "Keyword-to-Caption Augmentation", "ICASSP", 2023),
    Listed("dinov2", "oquab2024dinov2", "Oquab, Maxime and others",
           "DINOv2: Learning Robust Visual Features without Supervision",
           "Transactions on Machine Learning Research", 2024),
    Listed("siglip2", "tschannen2025siglip2", "Tschannen, Michael and others",
           "SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, "
           "Localization, and Dense Features", "arXiv:2502.14786", 2025),
    Listed("openai clip", "radford2021clip", "Radford, Alec and others",
           "Learning Transferable Visual Models From Natural Language Supervision", "ICML", 2021),
    Listed("multilingual e5", "wang2024e5",
           "Wang, Liang and Yang, Nan and Huang, Xiaolong and Yang, Linjun and Majumder, Rangan "
           "and Wei, Furu", "Multilingual E5 Text Embeddings: A Technical Report",
           "arXiv:2402.05672", 2024),
    Listed("bge m3", "chen2024bgem3",
           "Chen, Jianlv and Xiao, Shitao and Zhang, Peitian and Luo, Kun and Lian, Defu and Liu, "
           "Zheng",
           "BGE M3-Embedding: Multi-Lingual, Multi-Functionality, Multi-Granularity Text "
           "Embeddings Through Self-Knowledge Distillation", "arXiv:2402.03216", 2024),
    Listed("sentence-transformers minilm", "reimers2019sbert",
           "Reimers, Nils and Gurevych, Iryna",
           "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", "EMNLP", 2019),
    Listed("resnet", "he2016resnet",
           "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
           "Deep Residual Learning for Image Recognition", "CVPR", 2016),
    Listed("densenet", "huang2017densenet",
           "Huang, Gao and Liu, Zhuang and van der Maaten, Laurens and Weinberger, Kilian Q.",
           "Densely Connected Convolutional Networks", "CVPR", 2017),
    Listed("inception v3", "szegedy2016inception",
           "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon and Wojna, "
           "Zbigniew", "Rethinking the Inception Architecture for Computer Vision", "CVPR", 2016),
    Listed("alexnet", "krizhevsky2012alexnet",
           "Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.",
           "ImageNet Classification with Deep Convolutional Neural Networks",
           "Advances in Neural Information Processing Systems", 2012),
    Listed("swin", "liu2021swin",
           "Liu, Ze and Lin, Yutong and Cao, Yue and Hu, Han and Wei, Yixuan and Zhang, Zheng and "
           "Lin, Stephen and Guo, Baining",
           "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", "ICCV", 2021),
    Listed("convnext", "liu2022convnext",
           "Liu, Zhuang and Mao, Hanzi and Wu, Chao-Yuan and Feichtenhofer, Christoph and Darrell, "
           "Trevor and Xie, Saining", "A ConvNet for the 2020s", "CVPR", 2022),
    Listed("vgg", "simonyan2015vgg", "Simonyan, Karen and Zisserman, Andrew",
           "Very Deep Convolutional Networks for Large-Scale Image Recognition", "ICLR", 2015),
    Listed("vit b 16|google vit", "dosovitskiy2021vit", "Dosovitskiy, Alexey and others",
           "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", "ICLR",
           2021),
)  # fmt: skip


def work_of(name: str) -> Work | None:
    """The work that a model or network is from; None if it is not listed here.

    >>> work_of("hf:m-a-p/MERT-v1-95M").key, work_of("hf:someone/summertime")
    ('li2024mert', None)
    """
    own = name.lower().partition(":")[2] or name.lower()
    words = set(re.split(r"[^a-z0-9]+", own)) | set(re.split(r"[^a-z0-9-]+", own))
    words |= {re.sub(r"\d+$", "", word) for word in words}  # resnet50
    for listed in WORKS:
        if any(set(wanted.split()) <= words for wanted in listed.words.split("|")):
            return Work(*listed[1:])
    return None


def card_of(name: str) -> Work | None:
    """The card of a model on the hub, where nothing but its name is known; None: it is not there.

    >>> print(card_of("hf:someone/some_model").bibtex)
    @misc{someone-some-model,
      title = {{someone/some_model}},
      url = {https://huggingface.co/someone/some_model}
    }
    """
    place, _, own = name.partition(":")
    if place != "hf" or not re.fullmatch(r"[\w.-]+/[\w.-]+", own):
        return None
    key = re.sub(r"[^a-z0-9]+", "-", own.lower())
    return Work(key, "", own, "", 0, url=f"{HUB}{own}")
