"""Why a model names a genre: words, places on a cover, neighbours, and a human annotator beside it.

Oramas 2018, sec. 6. Pure functions; `pipeline.qualitative` applies them to the artefacts of a run.
"""
