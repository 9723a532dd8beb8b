"""One frozen model a modality, and solved heads on their vectors: nothing else is trained.

    python docs/examples/frozen_trio.py                         # the models of frozen/trio
    python docs/examples/frozen_trio.py dir:clap dir:e5 dir:dinov2

The first line needs the network once, for some 2 GB of weights. On a machine without one, give
folders as `save_pretrained` writes them (config.json, model.safetensors, and the files of the
tokenizer or preprocessor); `huggingface-cli download OWNER/NAME --local-dir FOLDER` makes one
elsewhere. Models of the same families may take their places.
"""

import sys
from collections.abc import Sequence

from mmgenre import GenreTagger, extract_features, fuse
from mmgenre.datasets.synthetic import built_in_catalogue

TRIO = (
    "hf:laion/larger_clap_music",
    "hf:intfloat/multilingual-e5-small",
    "hf:facebook/dinov2-base",
)
RUN = "runs/frozen-trio"


def main(models: Sequence[str]) -> None:
    audio, text, image = models
    settings = {
        "audio": {"encoders": [audio], "frozen": {"excerpt_s": 6.0}},  # the middle of each track
        "text": {"encoders": [text]},
        "image": {"encoders": [image]},
    }
    catalogue = built_in_catalogue(n_albums=96)
    print(extract_features(catalogue, run=RUN, recipe="quick", settings=settings))
    for row in fuse(run=RUN)["rows"]:
        print(f"{row['name']}: {row['all']['summary']['macro_roc_auc']['mean']:.3f}")

    tagger = GenreTagger.from_pretrained(
        RUN
    )  # the models stay where they are; their sha256 is kept
    print(tagger.predict(text="A quiet record of nylon strings."))
    print(tagger.licence)


if __name__ == "__main__":
    main(sys.argv[1:] or TRIO)
