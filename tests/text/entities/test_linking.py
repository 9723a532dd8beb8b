"""The local annotator: prior, context, NIL; many threads; the built-in base on plain sentences."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmgenre.errors import MmgenreError
from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.annotators import EntityConfig, annotator_of
from mmgenre.text.entities.knowledge import Entity, KnowledgeBase, open_knowledge, words_of
from mmgenre.text.entities.local import EmbeddingContext, LocalAnnotator, TfidfContext

SURFACES = "surface\tentity\tprior\nKiss\tband\t.5\nkiss\tgesture\t.4\nair\tair\t.2\n"
ENTITIES = (
    "entity\ttitle\tcategories\nband\tKiss\tAmerican rock groups\n"
    "gesture\tKiss\tLove gestures\nair\tAir\tFrench bands\n"
)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def base(tmp_path: Path) -> KnowledgeBase:
    (tmp_path / "surfaces.tsv").write_text(SURFACES)
    (tmp_path / "entities.tsv").write_text(ENTITIES)
    return open_knowledge(tmp_path)


class Same:
    """A context that finds the same similarity for an entity in every text."""

    def __init__(self, **similarities: float) -> None:
        self.similarities = similarities

    def __call__(self, text: str) -> Callable[[str, Entity], float]:
        return lambda surface, entity: self.similarities.get(entity.name, 0.0)


def link(base: KnowledgeBase, text: str, *, nil: float = 0.0, **similarities: float) -> Annotation:
    [annotation] = LocalAnnotator(
        base, Same(**similarities), nil_threshold=nil, context_weight=10.0, case_weight=0.1
    ).annotate(text)
    return annotation


def test_without_context_the_score_is_the_prior(base: KnowledgeBase) -> None:
    assert link(base, "Kiss live").entity == "band"
    assert link(base, "Kiss live").score == pytest.approx(0.5)
    assert link(base, "some air").score == pytest.approx(0.2)


def test_context_is_weighed_as_the_docstring_says(base: KnowledgeBase) -> None:
    linked = link(base, "A Kiss", gesture=0.3)
    assert linked == Annotation("Kiss", "gesture", ("Love gestures",), linked.score, (2, 6))
    assert linked.score == pytest.approx(0.4 * 4 / (0.4 * 4 + 0.5 + 0.1))
    assert link(base, "A Kiss", gesture=0.3, band=0.3).entity == "band"


def test_small_letters_speak_against_a_name_with_a_capital(base: KnowledgeBase) -> None:
    linked = link(base, "a kiss")
    assert linked.entity == "gesture"
    assert linked.score == pytest.approx(0.4)
    assert link(base, "KISS").entity == "band"


def test_mentions_below_the_threshold_stay_unlinked(base: KnowledgeBase) -> None:
    context = Same(air=0.05)
    for nil, n_links in ((0.25, 1), (0.28, 0)):  # the score is 0.2727
        annotator = LocalAnnotator(
            base, context, nil_threshold=nil, context_weight=10.0, case_weight=1.0
        )
        assert len(annotator.annotate("the air")) == n_links


def test_the_cosine_is_that_of_tf_idf(base: KnowledgeBase) -> None:
    context = TfidfContext(base)
    band = base.entity("band")
    assert band is not None
    idf = math.log(4 / 2) + 1  # every word of the band but its name is its alone
    kiss = math.log(4 / 3) + 1
    similarity = context("Rock, rock; American love and unknown words. Kiss!")
    u = {"rock": (1 + math.log(2)) * idf, "american": idf, "love": idf, "kiss": kiss}
    v = {"american": idf, "rock": idf, "group": idf}
    u_v = sum(u.get(w, 0) * x for w, x in v.items())
    u_u = sum(x * x for w, x in u.items() if w != "kiss")  # the mention's own word is left out
    v_v = sum(x * x for x in v.values())
    assert similarity("Kiss", band) == pytest.approx(u_v / math.sqrt(u_u * v_v))
    assert context("nothing known")("Kiss", band) == 0
    assert context("kiss")("Kiss", band) == 0
    assert words_of("Bass, brass, blues & a house's") == ["bass", "brass", "blue", "house"]


@pytest.mark.parametrize(
    ("text", "surface", "entity"),
    [
        ("Deep grooves for the dance floor: Chicago house and techno.", "house", "House_music"),
        ("They lived in a house, a brick building with three doors.", "house", "House"),
        ("Grunge and alternative rock from Seattle: Nirvana.", "Nirvana", "Nirvana_(band)"),
        ("Buddhist meditation leads to nirvana, Indian religions say.", "nirvana", "Nirvana"),
        ("The finest progressive rock groups: Genesis.", "Genesis", "Genesis_(band)"),
        ("The Bible begins with creation, in Genesis.", "Genesis", "Book_of_Genesis"),
        ("Hard rock groups, American rock music: Boston.", "Boston", "Boston_(band)"),
        ("Recorded in Boston, Massachusetts.", "Boston", "Boston"),
        ("Prince plays funk and sings.", "Prince", "Prince_(musician)"),
        ("A prince of royal nobility.", "prince", "Prince"),
        ("Kiss play hard rock.", "Kiss", "Kiss_(band)"),
        ("She gave him a kiss.", "kiss", "Kiss"),
        ("Loud metal with blast beats.", "metal", "Heavy_metal_music"),
        ("Chemistry and metallurgy of metal.", "metal", "Metal"),
        ("Spicy salsa, a Mexican sauce for your food.", "salsa", "Salsa_(food)"),
        ("Cuban music: salsa and mambo.", "salsa", "Salsa_music"),
        ("Fishing for freshwater bass.", "bass", "Bass_(fish)"),
        ("The rhythm section: bass and drums.", "bass", "Bass_guitar"),
        ("Metaphysics of the soul.", "soul", "Soul"),
        ("Motown soul, rhythm and blues.", "soul", "Soul_music"),
    ],
)
def test_context_decides_between_meanings(text: str, surface: str, entity: str) -> None:
    annotator = annotator_of(EntityConfig(annotator="local"))
    assert annotator is not None
    links = {a.surface: a.entity for a in annotator.annotate(text)}
    assert links[surface] == entity


def test_common_words_are_no_bands() -> None:
    annotator = annotator_of(EntityConfig(annotator="local"))
    assert annotator is not None
    text = "Yes, I can hear the cure for war in the air; the journey goes on, who knows."
    bands = [a.entity for a in annotator.annotate(text) if "band" in a.entity or "The" in a.entity]
    assert bands == []


def test_threads_annotate_as_one_does() -> None:
    annotator = annotator_of(EntityConfig(annotator="local"))
    assert annotator is not None
    texts = [
        f"Miles Davis played {k} cool jazz in Boston; Björk, house, Kiss. " * 5 for k in range(40)
    ]
    expected = [annotator.annotate(text) for text in texts]
    assert all(len(one) == 30 for one in expected)
    start = threading.Barrier(8)

    def work(k: int) -> list[object]:
        if k < 8:
            start.wait()
        return [annotator.annotate(text) for text in texts]

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(work, range(16)))


def test_threads_make_one_annotator(tmp_path: Path) -> None:
    (tmp_path / "surfaces.tsv").write_text(SURFACES)
    (tmp_path / "entities.tsv").write_text(ENTITIES)
    config = EntityConfig(annotator="local", knowledge_base=str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: annotator_of(config), range(32)))
    assert len({id(annotator) for annotator in made}) == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model whose embeddings count the words of a small vocabulary."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    folder = tmp_path_factory.mktemp("model")
    words = ["rock", "groups", "american", "love", "gestures", "french", "bands", "kiss", "air"]
    model = SentenceTransformer(modules=[BoW(vocab=words)], device="cpu")
    model.save(str(folder), create_model_card=False)
    return folder


def test_embeddings_decide_between_meanings(base: KnowledgeBase, model: Path) -> None:
    context = EmbeddingContext(model, base.entities())
    annotator = LocalAnnotator(
        base, context, nil_threshold=0.3, context_weight=20.0, case_weight=1.0
    )
    assert [a.entity for a in annotator.annotate("rock groups: Kiss")] == ["band"]
    assert [a.entity for a in annotator.annotate("love gestures: Kiss")] == ["gesture"]
    band = base.entity("band")
    assert band is not None
    assert context("kiss, love gestures")("Kiss", band) == 0  # less alike than the mean
    assert 0.5 < context("american rock groups, kiss")("Kiss", band) <= 1.0001


def test_no_model_is_named(base: KnowledgeBase, tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match=r"absent: no such folder; a sentence-transformers"):
        EmbeddingContext(tmp_path / "absent", base.entities())
    with pytest.raises(MmgenreError, match="not a sentence-transformers model"):
        EmbeddingContext(tmp_path, base.entities())
