"""The strict base of all settings: an unknown key, or a value of another type, stops the run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of one section; each section stands just above the code that uses it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
