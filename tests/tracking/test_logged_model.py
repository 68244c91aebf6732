"""Copies of this project's code under another name: they import nothing of the original."""

import ast
import sys
import threading

from pipeline.tracking.logged_model import copy_as_package, importable


def test_threads_log_their_models_one_after_the_other(tmp_path):
    path, entered = list(sys.path), threading.Event()

    def log_another() -> None:
        with importable(tmp_path / "other"):
            entered.set()

    with importable(tmp_path / "one"):
        thread = threading.Thread(target=log_another)
        thread.start()
        assert not entered.wait(0.1)
    thread.join()
    assert entered.is_set()
    assert sys.path == path


def test_a_copy_imports_its_own_modules_and_none_of_this_project(tmp_path):
    package = copy_as_package("pipeline.tracking.served_model", tmp_path)
    imported: set[str] = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module))
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    assert f"{package.name}.models.config" in imported
    assert not {name for name in imported if name.split(".")[0] in ("models", "pipeline")}
    ours = [tmp_path.joinpath(*name.split(".")) for name in imported if name.startswith(package.name)]
    assert all(path.is_dir() or path.with_suffix(".py").is_file() for path in ours)
