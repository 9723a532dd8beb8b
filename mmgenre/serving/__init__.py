"""A page on this machine where one drops a song, a cover or a text, and reads its genres."""
