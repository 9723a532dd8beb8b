"""Why a model says what it says: words, places on a cover, neighbours, a human beside it.

Oramas 2018, sec. 6. Pure functions; `stages.describing` feeds them from a run's artefacts.
"""
