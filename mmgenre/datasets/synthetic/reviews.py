"""Reviews of an album: sentences that suggest its genre, no genre, or a wrong one."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.random import Generator

from mmgenre.datasets.synthetic.plan import GENRES, SUBGENRES, genre_of

N_WORDS = (40, 120)  # of one review
# Shares of the sentences; what remains of 1 is neutral.
STYLE_SHARE = 0.42  # words of the genre's family
MISLEADING_SHARE = 0.12  # another genre's name or words
GENRE_SHARE = 0.04  # the genre's own name
SUBGENRE_SHARE = 0.10  # words of the subgenre
FURTHER_LABEL_SHARE = 0.2  # of the sentences that suggest a genre, for an album with further labels

# By family; split where they are used.
THINGS: Mapping[str, str] = {
    "riff": "riffs amplifiers feedback distortion drumming solos shouting volume fury",
    "hook": "hooks synthesizers choruses loops beats remixes samplers production club",
    "room": "phrasing ballads standards fingers breath ensemble microphones silence duets",
    "south": "fiddles twang trucks whiskey highways heartbreak boots prairie saloons",
    "fiesta": "congas percussion trumpets carnival rhythms dancers timbales serenades coast",
}
QUALITIES: Mapping[str, str] = {
    "riff": "heavy loud abrasive roaring furious gritty crushing raw electrified",
    "hook": "glossy catchy danceable pulsing shiny programmed infectious sleek neon",
    "room": "intimate unplugged hushed tasteful warm unhurried delicate woody graceful",
    "south": "dusty rural drawling lonesome homespun rugged southern plainspoken weathered",
    "fiesta": "tropical sensual sunlit syncopated festive passionate swaying fiery coastal",
}


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) ", text)


STYLE_SENTENCES = _sentences(
    "The {thing} are {quality} from the first bar to the last. What stays in the mind is the "
    "{quality} {thing} of the second half. {quality} and sure of itself, the title track lives on "
    "its {thing}. There is more room for {thing} than before, and it suits {artist}. Few records "
    "this year sound so {quality}. The {thing} and the {thing2} make this {quality} set easy to "
    "love."
)
GENRE_SENTENCES = _sentences(
    "At heart it is a {genre} record. File it under {genre} and be done. Admirers of {genre} will "
    "want it on the shelf."
)
SUBGENRE_SENTENCES = _sentences(
    "One hears {word} and {word2} throughout. The {word} moments are the best ones. It takes "
    "{word} as its starting point."
)
MISLEADING_SENTENCES = _sentences(
    "Unlike their earlier {other} record, this one knows when to stop. Nothing here recalls the "
    "{quality} {thing} of their debut. A cousin who only listens to {other} left the room. The "
    "press sheet speaks of {thing}, which is a joke. Those who hoped for {other} will be let down. "
    "For once nobody will call them {quality}."
)
NEUTRAL_SENTENCES = _sentences(
    "{artist} return with {title}, and the wait was worth it. The second side loses its way a "
    "little. It was recorded in eleven days with an old friend at the desk. My copy came with a "
    "torn sleeve, but the songs are fine. The opening track is also the shortest. It could have "
    "been ten minutes shorter. I have played it every morning this week. The closing number is the "
    "best thing they have written. Not everything works, and that is part of the charm. The "
    "sequencing is odd, though one gets used to it. Three stars, perhaps four on a good day. They "
    "played most of {title} on the last tour. The liner notes are worth the price alone. A step "
    "forward from the last one, if a small one. The label has done them no favours with the "
    "artwork. One wishes the lyrics were printed somewhere. Shipping was quick and the seller was "
    "kind. By the third listen it makes sense."
)


def write_reviews(
    styles: Sequence[str], artist: str, title: str, rng: Generator, n_reviews: int
) -> list[str]:
    """Reviews in the style of the given subgenres, the strongest first; oldest review first."""
    day = int(rng.integers(0, 15 * 365))
    reviews = []
    for _ in range(n_reviews):
        day += int(rng.integers(1, 700))
        date = np.datetime64("1998-01-01") + np.timedelta64(day, "D")
        n_words = int(rng.integers(N_WORDS[0], N_WORDS[1] - 15))
        sentences: list[str] = []
        neutral = [NEUTRAL_SENTENCES[i] for i in rng.permutation(len(NEUTRAL_SENTENCES))]
        while sum(len(sentence.split()) for sentence in sentences) < n_words:
            template, style = _next_sentence(styles, neutral, rng)
            sentence = _fill(template, style, artist, title, rng)
            if sentence not in sentences:
                sentences.append(sentence)
        reviews.append(f"{date}\n{' '.join(sentences)}\n")
    return reviews


def _next_sentence(styles: Sequence[str], neutral: list[str], rng: Generator) -> tuple[str, str]:
    """A template, and the subgenre whose words fill it."""
    style = styles[0]
    if len(styles) > 1 and rng.random() < FURTHER_LABEL_SHARE:
        style = str(rng.choice(styles[1:]))
    draw = rng.random()
    for share, templates in (
        (STYLE_SHARE, STYLE_SENTENCES),
        (GENRE_SHARE, GENRE_SENTENCES),
        (SUBGENRE_SHARE, SUBGENRE_SENTENCES),
    ):
        if draw < share:
            return str(rng.choice(templates)), style
        draw -= share
    if draw < MISLEADING_SHARE or not neutral:
        strangers = [s for s in SUBGENRES if genre_of(s) != genre_of(style)]
        return str(rng.choice(MISLEADING_SENTENCES)), str(rng.choice(strangers))
    return neutral.pop(), style


def _fill(template: str, style: str, artist: str, title: str, rng: Generator) -> str:
    genre = genre_of(style)
    family = GENRES[genre].text
    thing, thing2 = rng.choice(THINGS[family].split(), size=2, replace=False)
    word, word2 = rng.choice(SUBGENRES[style].words.split(", "), size=2, replace=False)
    sentence = template.format(
        artist=artist,
        title=title,
        thing=thing,
        thing2=thing2,
        quality=rng.choice(QUALITIES[family].split()),
        genre=genre.lower(),
        other=str(rng.choice(list(GENRES))).lower(),
        word=word,
        word2=word2,
    )
    return sentence[0].upper() + sentence[1:]
