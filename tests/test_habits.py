"""The files around the package: workflows, citation and changelog say what is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmgenre.pipeline.cite import METHOD

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CATEGORIES = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
# A path of the clone: a folder that is there, or a file with a suffix that only files of ours have.
PATHS = re.compile(r"(?<![\w./-])((?:\.?[\w-]+/)*[\w.-]+\.(?:md|toml|txt|py|cff|yml))(?![\w/])")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def make_targets() -> set[str]:
    [line] = re.findall(r"(?m)^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"))
    return set(line.split())


def shell_of(workflow: dict[str, Any]) -> Iterator[str]:
    for job in workflow["jobs"].values():
        yield from (step["run"] for step in job.get("steps", ()) if "run" in step)


def faults_of_workflow(workflow: dict[str, Any]) -> list[str]:
    """What a workflow names that is not there: targets of make, files, extras, other jobs."""
    jobs, found = workflow["jobs"], []
    for name, job in jobs.items():
        needs = job.get("needs", [])
        lacking = {needs} - set(jobs) if isinstance(needs, str) else set(needs) - set(jobs)
        found += [f"{name} needs {other}" for other in lacking]
        if job.get("uses", "").startswith("./") and not (ROOT / job["uses"]).is_file():
            found.append(f"{name} uses {job['uses']}")
    for text in shell_of(workflow):
        targets = re.findall(r"(?m)^\s*make ([\w-]+)", text)
        found += [f"make {target}" for target in targets if target not in make_targets()]
        found += [path for path in PATHS.findall(text) if not (ROOT / path).is_file()]
        extras = re.findall(r"\.\[([\w,]+)\]", text)
        known = project()["optional-dependencies"]
        found += [f"[{e}]" for some in extras for e in some.split(",") if e not in known]
    return found


def faults_of_changelog(text: str) -> list[str]:
    """Where a changelog departs from Keep a Changelog."""
    versions = re.findall(r"(?m)^## (.+)$", text)
    found = [] if versions[:1] == ["[Unreleased]"] else ["the first section is not [Unreleased]"]
    released = r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)"
    matched = [(name, re.fullmatch(released, name)) for name in versions[1:]]
    found += [f"no version with a date: {name}" for name, match in matched if match is None]
    numbers = [tuple(map(int, match.groups()[:3])) for _, match in matched if match is not None]
    if numbers != sorted(set(numbers), reverse=True):
        found.append("versions are not in order, the newest first")
    for section in re.split(r"(?m)^## ", text)[1:]:
        version, _, body = section.partition("\n")
        names = re.findall(r"(?m)^### (.+)$", body)
        found += [f"{version}: unknown category {n}" for n in names if n not in CATEGORIES]
        found += [f"{version}: {n} twice" for n in sorted({n for n in names if names.count(n) > 1})]
        empty = re.findall(r"(?m)^### (.+)\n+(?=#|\Z)", body)
        found += [f"{version}: {n} is empty" for n in empty]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_name_what_is_there(path: Path) -> None:
    workflow = loaded(path)
    assert {"name", "jobs", "permissions"} <= set(workflow)
    assert True in workflow  # `on`, as YAML 1.1 reads it
    assert faults_of_workflow(workflow) == []


def test_faults_of_workflows_are_found() -> None:
    steps = [{"run": "make nothing\npytest tests/test_gone.py\npip install '.[gone]'"}]
    jobs = {"one": {"needs": ["two"], "steps": steps}, "three": {"uses": "./.github/gone.yml"}}
    assert faults_of_workflow({"jobs": jobs}) == [
        "one needs two",
        "three uses ./.github/gone.yml",
        "make nothing",
        "tests/test_gone.py",
        "[gone]",
    ]


def test_workflows_try_every_python_and_both_ends_of_the_ranges() -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    resolutions = jobs["dependencies"]["strategy"]["matrix"]["resolution"]
    assert resolutions == ["lowest-direct", "highest"]
    assert any("mmgenre quickstart" in step.get("run", "") for step in jobs["wheel"]["steps"])
    publishing = loaded(ROOT / ".github" / "workflows" / "publish.yml")["jobs"]["pypi"]
    assert publishing["permissions"] == {"id-token": "write"}
    assert "checks" in publishing["needs"]


def test_pre_commit_checks_what_lint_checks() -> None:
    [repo] = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"].split()[0] for hook in repo["hooks"]]
    assert entries == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]


def test_the_citation_is_of_this_program_and_of_its_paper() -> None:
    citation = loaded(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert (citation["type"], citation["title"]) == ("software", project()["name"])
    assert citation["license"] == project()["license"] == "MIT"
    assert [a["name"] for a in citation["authors"]] == [a["name"] for a in project()["authors"]]
    [paper] = citation["references"]
    names = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    found = (names, paper["title"], paper["year"], paper["doi"])
    assert found == (METHOD.authors, METHOD.title, METHOD.year, METHOD.doi)
    assert project()["urls"]["Paper"] == f"https://doi.org/{METHOD.doi}"


def test_the_version_has_one_home() -> None:
    written = f'"{project()["version"]}"'
    sources = [*(ROOT / "mmgenre").rglob("*.py"), ROOT / "CITATION.cff"]
    assert [p for p in sources if written in p.read_text(encoding="utf-8")] == []


def test_the_changelog_keeps_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert faults_of_changelog(text) == []
    assert f"## [{project()['version']}] - " in text


def test_faults_of_changelogs_are_found() -> None:
    good = "# Changelog\n\n## [Unreleased]\n\n### Added\n- A.\n\n## [0.2.0] - 2026-11-20\n"
    assert faults_of_changelog(good) == []
    assert faults_of_changelog("## [0.2.0] - 2026-11-20\n") == [
        "the first section is not [Unreleased]"
    ]
    bad = good + "\n## [0.3.0]\n\n### News\n\n### Fixed\n- B.\n\n### Fixed\n- C.\n"
    assert faults_of_changelog(bad) == [
        "no version with a date: [0.3.0]",
        "[0.3.0]: unknown category News",
        "[0.3.0]: Fixed twice",
        "[0.3.0]: News is empty",
    ]
    late = good + "\n## [0.3.0] - 2026-11-21\n"
    assert faults_of_changelog(late) == ["versions are not in order, the newest first"]
