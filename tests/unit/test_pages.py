"""Pages written by hand: links and anchors lead somewhere, commands have the options shown, experiments are dated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(set((ROOT / "docs" / "experiments").glob("*.md")) - {ROOT / "docs" / "experiments" / "README.md"})
PAGES = sorted(
    page
    for folder in ("docs", "corpus", "benchmarks", "src/sentiment_monitor/score/bundled")
    for page in (ROOT / folder).rglob("*.md")
) + sorted(ROOT.glob("*.md"))
CODE = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "scripts", "alembic", "deploy")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".toml", ".html", ".service"} and path != Path(__file__)
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """The page without its fenced code, in which ``#`` begins a comment and no heading."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub makes of the headings: a repeated heading gets a number."""
    made: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*)$", prose(page), re.MULTILINE):
        words = re.sub(r"\]\([^)]*\)", "", heading)
        anchor = re.sub(r"[^\w -]", "", words).strip().lower().replace(" ", "-")
        repeated = next(n for n in range(len(made) + 1) if (f"{anchor}-{n}" if n else anchor) not in made)
        made.add(f"{anchor}-{repeated}" if repeated else anchor)
    return made


def broken(page: Path, target: str) -> str | None:
    """What is wrong with a relative link of this page, None when it holds."""
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return f"{target}: no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file)):
        return f"{target}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    text = prose(page)
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", text) + re.findall(r"(?:href|src)=\"([^\"]+)\"", text)
    targets += re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    assert [fault for target in targets if "://" not in target if (fault := broken(page, target))] == []


def test_a_missing_file_a_missing_heading_and_a_comment_in_code_are_no_targets(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    assert broken(readme, "docs/no-such-page.md") == "docs/no-such-page.md: no such file"
    assert broken(readme, "docs/operations.md#no-such-heading") == "docs/operations.md#no-such-heading: no such heading"
    assert broken(readme, "../elsewhere.md") == "../elsewhere.md: no such file"
    page = tmp_path / "page.md"
    page.write_text(
        "# Twice\n\n```sh\n# comment\n```\n\n## Twice\n\n## [A link](page.md), and `code`\n", encoding="utf-8"
    )
    assert anchors(page) == {"twice", "twice-1", "a-link-and-code"}


def test_every_page_that_code_names_exists() -> None:
    missing = {
        f"{name_of(path)}: {mentioned}"
        for path in CODE
        for mentioned in re.findall(r"(?<![\w./])docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
        if not (ROOT / mentioned).is_file()
    }
    assert missing == set()


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page))
        if "://" not in target
    }
    roots = {ROOT / "README.md", ROOT / "src/sentiment_monitor/score/bundled/README.md"}
    assert [name_of(page) for page in PAGES if page not in linked | roots] == []


@pytest.mark.parametrize("page", EXPERIMENTS, ids=name_of)
def test_an_experiment_asks_one_question_and_says_when_it_was_answered(page: Path) -> None:
    title, setting, answer = page.read_text(encoding="utf-8").split("\n\n")[:3]
    assert re.fullmatch(r"# [^#\n]+\?", title)
    assert re.match(r"\d{4}-\d\d-\d\d", setting)
    assert answer.startswith("**In short**: ")


def test_the_index_has_every_experiment_under_its_question() -> None:
    index = (ROOT / "docs" / "experiments" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[([^\]]+)\]\(([\w-]+\.md)\)", index, re.MULTILINE)
    questions = [
        (page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "), page.name) for page in EXPERIMENTS
    ]
    assert sorted(listed) == sorted(questions)


def options() -> dict[str, set[str]]:
    """Options of every command as docs/cli.md has them: ``alerts list`` -> ``--limit``, …"""
    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## monitor ([a-z -]+)$(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL)
    return {
        command: set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
        | set(re.findall(r"/ (--[a-z-]+)", text))
        for command, text in sections
    }


# A record says what was run that day, whatever became of the command.
@pytest.mark.parametrize("page", sorted(set(PAGES) - set(EXPERIMENTS)), ids=name_of)
def test_commands_shown_exist_and_have_the_options_shown(page: Path) -> None:
    known = options()
    text = page.read_text(encoding="utf-8")
    calls = [" ".join(call.split()) for call in re.findall(r"`(?:\./)?monitor ([a-z][^`]*)`", text)]
    calls += re.findall(r"^ *(?:\./)?monitor ([a-z][^\n]*)$", text, re.MULTILINE)
    for call in calls:
        words = call.split()
        command = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        groups = {name.split()[0] for name in known if " " in name}
        assert command in known or command in groups, f"{name_of(page)}: monitor {call}"
        shown = set(re.findall(r"(?<!\S)--[a-z-]+", call.partition(" #")[0])) - {"--setup-only"}
        assert shown <= known.get(command, set()) | {"--help"}, f"{name_of(page)}: monitor {call}"


def test_an_option_of_another_command_is_noticed() -> None:
    known = options()
    assert "--clock" in known["run"]
    assert "--clock" not in known["publish"]
    assert {"--state", "--limit", "--config"} <= known["alerts list"]
