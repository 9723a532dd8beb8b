"""Entities in texts, and their categories as words: VSM+SEM (Oramas 2018, sec. 3.2)."""
