"""The notebooks of `notebooks/`: executed against a store or a stack, rendered to HTML that works offline.

Invariant: a notebook is a Python file; its results live in the build folder only. `python -m kintsugi.notebooks`
renders all of them into `build/notebooks` against the running stack.
"""

import os
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from kintsugi.settings import CHECKOUT

FOLDER = CHECKOUT / "notebooks"
_STYLE = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; border-left: 3px solid var(--line); padding-left: 1rem; font-size: .85rem; }
img { max-width: 100%; background: #fff; } table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-top: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: left; }
"""


def names() -> list[Path]:
    """The notebooks; what they share is none."""
    return sorted(
        path for path in FOLDER.glob("*.py") if path.read_text(encoding="utf-8").startswith("# ---")
    )


def executed(path: Path, env: Mapping[str, str], timeout: int = 120) -> Any:
    """The notebook with its results. nbclient.exceptions.CellExecutionError when a cell raises."""
    import jupytext
    import nbclient

    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    return client.execute(env={**os.environ, **env})


def html(notebook: Any) -> str:
    """An executed notebook as one page, pictures inside."""
    parts = [part for cell in notebook.cells for part in _cell(cell)]
    title = next((cell.source.splitlines()[0].lstrip("# ") for cell in notebook.cells), "Notebook")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _cell(cell: Any) -> list[str]:
    if cell.cell_type == "markdown":
        return [_markdown(cell.source)]
    parts = [f"<details><summary>code</summary><pre><code>{escape(cell.source)}</code></pre></details>"]
    return parts + [_output(output) for output in cell.outputs]


def _markdown(text: str) -> str:
    """The little of Markdown that the notebooks use: headings and paragraphs."""
    parts = []
    for block in text.split("\n\n"):
        level = len(block) - len(block.lstrip("#"))
        tag = f"h{level}" if level else "p"
        parts.append(f"<{tag}>{escape(block.lstrip('# '))}</{tag}>")
    return "\n".join(parts)


def _output(output: Any) -> str:
    if output.output_type == "stream":
        return f"<pre>{escape(output.text)}</pre>"
    data = output.get("data", {})
    if "image/png" in data:
        return f'<p><img alt="chart" src="data:image/png;base64,{data["image/png"].strip()}"></p>'
    return (
        str(data["text/html"]) if "text/html" in data else f"<pre>{escape(data.get('text/plain', ''))}</pre>"
    )


def main() -> None:
    """Render all, or those named on the command line; exit status 1 when one of them stopped."""
    from nbclient.exceptions import CellExecutionError

    stopped = False
    target = CHECKOUT / "build" / "notebooks"
    target.mkdir(parents=True, exist_ok=True)
    for path in names():
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            written = target / f"{path.stem}.html"
            try:
                written.write_text(html(executed(path, {})), encoding="utf-8")
            except CellExecutionError as error:
                stopped = True
                print(f"{path.stem} stopped: {error.ename}: {error.evalue}", file=sys.stderr)
            else:
                print(written)
    sys.exit(stopped)


if __name__ == "__main__":
    main()
