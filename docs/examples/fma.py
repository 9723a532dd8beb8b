"""FMA (Defferrard et al. 2017): from the published archives to a table, on the published splits.

    python docs/examples/fma.py FOLDER [small]

FOLDER has what https://github.com/mdeff/fma gives: `fma_metadata/` and, of a subset, `fma_small/`,
`fma_medium/` or `fma_large/`. The card `data_manifests/fma` has addresses, licence and known
defects. With `small`, 8 genres and 8000 clips of 30 s.
"""

import sys
from pathlib import Path

from mmgenre import Manifest, extract_features, fuse
from mmgenre.datasets.build import build_manifest

RUN = "runs/fma"


def main(folder: Path, subset: str) -> None:
    built = build_manifest("fma", folder, Path("runs/fma.csv"), subset=subset, only_with=["audio"])
    print(*built.notes, sep="\n")
    items = Manifest.read(built.manifest, media_roots=[folder])
    print({split: items.count(split) for split in ("train", "val", "test")})

    # Drop `settings` and take recipe="default" for a result to use; this is a first look.
    settings = {"audio": {"encoders": ["statistics"]}, "text": {"encoders": ["linear"]}}
    extract_features(
        built.manifest,
        media_roots=[folder],
        run=RUN,
        modalities=["audio", "text"],  # words are the biography of the artist
        recipe="quick",
        settings=settings,
    )
    for row in fuse(["audio", "text"], run=RUN)["rows"]:
        accuracy, n_items = row["all"]["summary"]["accuracy"]["mean"], row["all"]["n_items"]
        print(f"{row['name']}: accuracy {accuracy:.3f} on {n_items} test items")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or ["small"]))
