"""Page: a report as one HTML file, with a picture of every step of a failing history.

What this is
    One self-contained page. Each failure has its calls, a slider over them, and a row of
    slots as the model has them after the call that is chosen.

Interface, as rules of use
    * `page(report, text)` gives the whole file; `text` is the console report, kept below.
    * Nothing is loaded from anywhere, and without a script all steps are shown.
"""

from __future__ import annotations

from html import escape
from typing import Final

from kvbm_spec.clauses import lookup
from kvbm_spec.explore import Failure
from kvbm_spec.operations import Step, key_text
from kvbm_spec.run import Report
from kvbm_spec.twin import Twin

STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1b1b1f;background:#fff}
h2{margin:2.5rem 0 .3rem}code,pre{font:13px/1.5 ui-monospace,monospace}
pre{overflow-x:auto;background:#f5f5f7;padding:1rem}
.step{display:flex;gap:1rem;align-items:center;padding:.3rem .5rem;border-left:3px solid #ddd}
.step.wrong{border-color:#c62828;background:#fdecea}
.step code{flex:1}.slots{display:flex;gap:.3rem}
.slot{width:5rem;border:1px solid #bbb;border-radius:4px;text-align:center;font-size:12px}
.slot b{display:block;font-size:14px}.free{background:#fafafa;color:#888}
.mutable{background:#fff3e0}.staged{background:#ffe0b2}.active{background:#c8e6c9}
.inactive{background:#e3f2fd}.duplicate{background:#e1bee7}
table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}
input{width:100%}.hidden{display:none}
@media(prefers-color-scheme:dark){body{color:#eee;background:#17171a}pre{background:#222}
.slot{color:#111}.step.wrong{background:#4a1d1d}}
"""

PICTURED: Final = "Slots as the model has them after each call:"

SCRIPT: Final = """
for (const section of document.querySelectorAll('section')) {
  const steps = [...section.querySelectorAll('.step')];
  const slider = document.createElement('input');
  slider.type = 'range'; slider.min = 1; slider.max = steps.length; slider.value = steps.length;
  slider.setAttribute('aria-label', 'Calls shown');
  slider.oninput = () => steps.forEach((s, i) => s.classList.toggle('hidden', i >= slider.value));
  if (steps.length > 1) section.querySelector('.steps').before(slider);
}
"""


def page(report: Report, text: str) -> str:
    """Give the page."""
    name = escape(f"{report.subject.name} {report.subject.version}")
    verdict = "conforms, as far as it was asked" if report.ok else "does not conform"
    rows = "".join(
        f"<tr><td><code>{result.clause}</code></td><td>{result.status}</td>"
        f"<td>{escape(result.reason or lookup(result.clause).sentence)}</td></tr>"
        for result in report.results
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{name}</title>"
        f"<style>{STYLE}</style><h1>{name} {verdict}</h1>"
        f"<p>Spec {escape(report.subject.spec_version)}, profile {report.profile}; "
        f"{report.findings.states:,} states, {report.findings.transitions:,} calls.</p>"
        + "".join(_section(failure) for failure in report.failures)
        + f"<h2>All clauses</h2><table>{rows}</table>"
        f"<h2>As text</h2><pre>{escape(text)}</pre><script>{SCRIPT}</script></html>\n"
    )


def _section(failure: Failure) -> str:
    steps = "".join(
        f"<div class='step{' wrong' if step.wrong else ''}'>"
        f"<code>{number}. {escape(str(step))}</code><div class='slots'>{slots}</div></div>"
        for number, (step, slots) in enumerate(
            zip(failure.steps, _pictures(failure), strict=True), start=1
        )
    )
    return (
        f"<section><h2>{failure.clause}: {escape(failure.verdict.what)}</h2>"
        f"<p>{escape(lookup(failure.clause).sentence)}</p>"
        f"<p>{'What was done:' if failure.twin is None else PICTURED}</p>"
        f"<div class='steps'>{steps}</div></section>"
    )


def _pictures(failure: Failure) -> list[str]:
    """Draw the slots of the model after each call: its last state knows how to start anew."""
    if failure.twin is None:
        return [""] * len(failure.steps)
    twin = failure.twin.fresh()
    pictures = []
    for step in failure.steps:
        assert isinstance(step, Step), f"a lockstep history is made of calls, not of {step}"
        twin.apply(step.op)
        pictures.append("".join(_slot(twin, index) for index in range(len(twin.model.slots))))
    return pictures


def _slot(twin: Twin, index: int) -> str:
    view = twin.view(index)
    name = "&nbsp;" if view.key is None else key_text(view.key)
    return f"<div class='slot {view.state}'><b>{name}</b>{view.state}</div>"
