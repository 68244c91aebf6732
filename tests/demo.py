"""Write docs/demo/index.html, the page of the latest training: ``python -m tests.demo``, as `make demo` runs it."""

from pipeline.pages.page import page_of
from pipeline.pages.subject import subject_of
from tests.checkout import ROOT

DEMO = ROOT / "docs" / "demo" / "index.html"

if __name__ == "__main__":
    DEMO.parent.mkdir(exist_ok=True)
    DEMO.write_text(page_of(subject_of("latest")))
