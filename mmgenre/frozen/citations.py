"""What to cite for models of others, by their names: those of `mmgenre.frozen.known`, backbones."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A published work. `where`: journal, proceedings, or an arXiv number as `arXiv:NUMBER`."""

    key: str
    authors: str  # as BibTeX has them
    title: str
    where: str
    year: int
    doi: str | None = None

    @property
    def bibtex(self) -> str:
        """A BibTeX entry."""
        kind, field = ("misc", "howpublished") if "arXiv" in self.where else _kind(self.where)
        fields = {"author": self.authors, "title": f"{{{self.title}}}", field: self.where}
        fields |= {"year": str(self.year)} if self.year else {}
        fields |= {"doi": self.doi} if self.doi else {}
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        return f"@{kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


def _kind(where: str) -> tuple[str, str]:
    journal = re.search(r"J\. |Journal|Trans\.|TISMIR|TMLR", where)
    return ("article", "journal") if journal else ("inproceedings", "booktitle")


IMAGENET = Work(
    "deng2009imagenet", "Deng, Jia and Dong, Wei and Socher, Richard and Li, Li-Jia and Li, Kai "
    "and Fei-Fei, Li", "ImageNet: A Large-Scale Hierarchical Image Database", "CVPR", 2009,
)  # fmt: skip
# The first whose pattern fits the whole name of a model or network.
WORKS: tuple[tuple[str, Work], ...] = (
    (r".*mert.*", Work("li2024mert", "Li, Yizhi and others", "MERT: Acoustic Music Understanding "
     "Model with Large-Scale Self-supervised Training", "ICLR", 2024)),
    (r".*clap.*", Work("wu2023clap", "Wu, Yusong and Chen, Ke and Zhang, Tianyu and Hui, Yuchen "
     "and Berg-Kirkpatrick, Taylor and Dubnov, Shlomo", "Large-scale Contrastive Language-Audio "
     "Pretraining with Feature Fusion and Keyword-to-Caption Augmentation", "ICASSP", 2023)),
    (r".*dinov2.*", Work("oquab2024dinov2", "Oquab, Maxime and others", "DINOv2: Learning Robust "
     "Visual Features without Supervision", "TMLR", 2024)),
    (r".*siglip2.*", Work("tschannen2025siglip2", "Tschannen, Michael and others", "SigLIP 2: "
     "Multilingual Vision-Language Encoders with Improved Semantic Understanding, Localization, "
     "and Dense Features", "arXiv:2502.14786", 2025)),
    (r".*clip.*", Work("radford2021clip", "Radford, Alec and others", "Learning Transferable "
     "Visual Models From Natural Language Supervision", "ICML", 2021)),
    (r".*multilingual-e5.*", Work("wang2024e5", "Wang, Liang and others", "Multilingual E5 Text "
     "Embeddings: A Technical Report", "arXiv:2402.05672", 2024)),
    (r".*bge-m3.*", Work("chen2024bgem3", "Chen, Jianlv and others", "BGE M3-Embedding: "
     "Multi-Lingual, Multi-Functionality, Multi-Granularity Text Embeddings Through "
     "Self-Knowledge Distillation", "arXiv:2402.03216", 2024)),
    (r".*minilm.*", Work("reimers2019sbert", "Reimers, Nils and Gurevych, Iryna", "Sentence-BERT: "
     "Sentence Embeddings using Siamese BERT-Networks", "EMNLP", 2019)),
    (r".*resnet.*", Work("he2016resnet", "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and "
     "Sun, Jian", "Deep Residual Learning for Image Recognition", "CVPR", 2016)),
    (r".*densenet.*", Work("huang2017densenet", "Huang, Gao and Liu, Zhuang and van der Maaten, "
     "Laurens and Weinberger, Kilian Q.", "Densely Connected Convolutional Networks", "CVPR",
     2017)),
    (r".*inception.*", Work("szegedy2016inception", "Szegedy, Christian and Vanhoucke, Vincent "
     "and Ioffe, Sergey and Shlens, Jon and Wojna, Zbigniew", "Rethinking the Inception "
     "Architecture for Computer Vision", "CVPR", 2016)),
    (r".*alexnet.*", Work("krizhevsky2012alexnet", "Krizhevsky, Alex and Sutskever, Ilya and "
     "Hinton, Geoffrey E.", "ImageNet Classification with Deep Convolutional Neural Networks",
     "NIPS", 2012)),
    (r".*vgg.*", Work("simonyan2015vgg", "Simonyan, Karen and Zisserman, Andrew", "Very Deep "
     "Convolutional Networks for Large-Scale Image Recognition", "ICLR", 2015)),
    (r".*vit.*", Work("dosovitskiy2021vit", "Dosovitskiy, Alexey and others", "An Image is Worth "
     "16x16 Words: Transformers for Image Recognition at Scale", "ICLR", 2021)),
)  # fmt: skip


def work_of(name: str) -> Work | None:
    """The work that a model or network is from; None if it is not listed here.

    >>> work_of("hf:m-a-p/MERT-v1-95M").key, work_of("hf:someone/else")
    ('li2024mert', None)
    """
    return next((work for pattern, work in WORKS if re.fullmatch(pattern, name.lower())), None)
