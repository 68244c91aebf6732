"""Write docs/demo/index.html, the page of the latest training: ``python -m tests.demo``, as `make demo` runs it."""

from pipeline.export.page import page
from pipeline.export.page_models import page_models
from pipeline.export.subject import subject_of
from tests.checkout import ROOT

DEMO = ROOT / "docs" / "demo" / "index.html"

if __name__ == "__main__":
    subject = subject_of("latest")
    DEMO.parent.mkdir(exist_ok=True)
    DEMO.write_text(page(subject, [], [], page_models(subject)))
