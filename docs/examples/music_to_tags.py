"""From a folder of music to genres in its tags: learns from tagged files, names the others.

    python docs/examples/music_to_tags.py MUSIC           # tells what would be written
    python docs/examples/music_to_tags.py MUSIC write     # writes; mmgenre untag UNDO takes it back

The same as `mmgenre extract-features MUSIC`, `fuse` and `predict --write-tags`, for those who want
to decide for each file what becomes of it.
"""

import sys
from pathlib import Path

from mmgenre import GenreTagger, Manifest, extract_features, fuse
from mmgenre.datasets.tag_writing import planned, write_genres
from mmgenre.datasets.tags import TagsError

RUN, UNDO = Path("runs/music-to-tags"), Path("undo.jsonl")
CONFIDENCE = 0.5  # genres below this probability are not written


def main(music: Path, *, write: bool) -> None:
    settings = {"audio": {"encoders": ["statistics"]}, "text": {"encoders": ["linear"]}}
    extract_features(music, run=RUN, recipe="quick", settings=settings)
    fuse(run=RUN)

    items = Manifest.read(RUN / "manifest.csv", media_roots=[music])
    untagged = items.only([item.id for item in items if not item.labels])
    predictions, refused = GenreTagger.from_pretrained(RUN).predict_manifest(untagged)
    for prediction in predictions:
        score = {genre.name: genre.score for genre in prediction.genres}
        genres = [name for name in prediction.named if score[name] >= CONFIDENCE]
        for path in map(Path, items[prediction.id].media.get("audio", ()) if genres else ()):
            try:
                change = planned(path, genres)
                print(f"{path}: {'; '.join(change.before) or 'no genre'} -> {'; '.join(genres)}")
                if write:
                    write_genres(change, UNDO)
            except (TagsError, OSError) as error:
                print(f"{path}: left as it is: {error}")
    for fault in refused:
        print(f"not used: {fault.id} {fault.code} {fault.detail}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), write=sys.argv[2:] == ["write"])
