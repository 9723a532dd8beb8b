"""Pages of the site that are made from the code when it is built, and pictures of the README."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

import mmgenre
from mmgenre import errors
from mmgenre.cli import app
from mmgenre.cli.shared import EXIT_CODES
from mmgenre.pipeline.recipe import recipe_type

PICTURES = Path(__file__).parents[1] / ".assets"


def python_page() -> str:
    """The public names; mkdocstrings fills each in from its docstrings."""
    homes = sorted(mmgenre._HOMES.items())
    names = "\n\n".join(f"::: {home}.{name}" for name, home in homes)
    intro = "All of these are imported from `mmgenre`, as in `from mmgenre import fuse`."
    return f"# Python\n\n{intro}\n\n{names}\n"


def commands_page() -> str:
    """Every command with its arguments and options, as `-h` has them."""
    root = get_command(app)
    intro = f"{EXIT_CODES} Every command knows `-h`."
    return "\n".join(["# Commands", "", intro, "", *_commands(root, "mmgenre", None)])


# Any: typer brings a click of its own, whose classes are not those of the package click.
def _commands(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name, parent=parent)
    if hasattr(command, "list_commands"):
        for below in command.list_commands(context):
            yield from _commands(command.get_command(context, below), below, context)
        return
    yield from (f"## {context.command_path}", "", inspect.cleandoc(command.help or ""), "")
    yield from ("| option | what it is | default |", "|---|---|---|")
    for parameter in command.get_params(context):
        if "--help" in parameter.opts:
            continue
        if parameter.param_type_name == "argument":
            names = f"`{parameter.name.upper()}{'...' if parameter.nargs != 1 else ''}`"
        else:
            names = ", ".join(f"`{n}`" for n in (*parameter.opts, *parameter.secondary_opts))
        default = parameter.default
        has_one = default not in (None, False, ()) and not callable(default)
        shown = f"`{default}`" if has_one else ""
        yield f"| {_cell(names)} | {_cell(parameter.help or '')} | {_cell(shown)} |"
    yield ""


def settings_page() -> str:
    """Every setting of a recipe with its values and its default, from the types that check it."""
    intro = (
        "Defaults are those of the library, where no recipe states anything. What the recipes that "
        "come with mmgenre state lies above them: see [recipes](../recipes.md)."
    )
    lines = ["# Recipe settings", "", intro, ""]
    for name, section in _sections(recipe_type(), ""):
        lines += [f"## `[{name}]`" if name else "## At the top", ""]
        lines += [_without_sections(inspect.cleandoc(section.__doc__ or "")), ""] if name else []
        lines += ["| setting | values | default |", "|---|---|---|"]
        for key, field in section.model_fields.items():
            if _below(field.annotation) is None:
                default = _text(field.get_default(call_default_factory=True))
                lines.append(f"| `{key}` | {_cell(_values(field))} | {_cell(f'`{default}`')} |")
        lines.append("")
    return "\n".join(lines)


def _without_sections(text: str) -> str:
    """The text without references to METHOD, notes on the paper that are not in the repository."""
    text = re.sub(r" \(METHOD sec(tion|\.) \d+\)", "", text)
    return re.sub(r"\AMETHOD section \d+: ", "As in the paper: ", text)


def _sections(of: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, of
    for key, field in of.model_fields.items():
        below = _below(field.annotation)
        if below is not None:
            yield from _sections(below, f"{name}.{key}".strip("."))


def _below(annotation: Any) -> type[BaseModel] | None:
    """The type of a section; None: a value."""
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None


def _values(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(m, name)}"
        for m in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if getattr(m, name, None) is not None
    ]
    return ", ".join([_type(field.annotation), *limits])


def _type(annotation: Any) -> str:
    """`Literal["a", "b"] | None` -> `"a"`, `"b"` or unset."""
    origin, within = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "unset"
    if origin is Literal:
        return ", ".join(f"`{_text(value)}`" for value in within)
    if origin is Union or type(annotation).__name__ == "UnionType":
        return " or ".join(_type(a) for a in within)
    if hasattr(annotation, "__metadata__"):
        return _type(within[0])
    plain = {bool: "true, false", int: "integer", float: "number", str: "text", Path: "path"}
    if origin in (tuple, list):
        return f"list of {_type(within[0])}"
    if _below(annotation) is not None or (origin or annotation) not in plain:
        return "table"
    return plain[annotation]


def codes_page() -> str:
    """Codes of refused inputs, and every error and warning."""
    source = inspect.getsource(errors)
    codes = re.findall(r'(?m)^    "(\w+)",(?:  # (.+))?$', source)
    assert [code for code, _ in codes] == list(errors.INPUT_CODES)
    lines = ["# Codes and errors", "", EXIT_CODES, "", "## Refused inputs", ""]
    where = "in `refused.csv` of a run, and in the lists that commands print"
    lines += [f"They stand {where}: see [manifests](../manifests.md#refused-items).", ""]
    lines += ["| code | meaning |", "|---|---|", *(f"| `{c}` | {_cell(t)} |" for c, t in codes), ""]
    shown = "All errors are kinds of `MmgenreError`; the command line prints the message."
    lines += ["## Errors and warnings", "", f"Of `mmgenre.errors`. {shown}", ""]
    lines += ["| name | when |", "|---|---|"]
    for name, kind in vars(errors).items():
        wanted = (errors.MmgenreError, UserWarning)
        if isinstance(kind, type) and issubclass(kind, wanted) and kind is not UserWarning:
            lines.append(f"| `{name}` | {_cell(inspect.cleandoc(kind.__doc__ or ''))} |")
    return "\n".join([*lines, ""])


def _text(value: object) -> str:
    """A value as TOML writes it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_text(v) for v in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {
    "reference/python.md": python_page,
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/codes.md": codes_page,
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made, and the pictures, which lie outside of docs/."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for picture in sorted(PICTURES.iterdir()):
        files.append(File.generated(config, f"assets/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to pictures as the site has them; pages are also read where the repository is shown."""
    return markdown.replace("](../.assets/", "](assets/")
