"""script/measure counts what it says, of a checkout with the package and of one with the flat layout."""

import subprocess
from pathlib import Path

MEASURE = Path(__file__).resolve().parents[2] / "script" / "measure"

FLAT = {
    "_utils/mailserver_one.py": "import mailserver_two\nfrom mailserver_two import two\n",
    "_utils/mailserver_two.py": "def two(x: int, y, *z: int):\n    '''Two.'''\n    a = 1\n    b = 2\n",
    "_modules/mailserver.py": "class A:\n    def f(self, a):\n        from mailserver_two import two\n",
}
PACKAGE = {
    "_utils/mailhost/__init__.py": "def drop(): pass\n",
    "_utils/mailhost/dns/ask.py": "def f(a: int):\n    return a\n\ndef g():\n    x = 1\n    y = 2\n    z = 3\n",
    "_utils/mailhost/dns/__init__.py": "",
    "_utils/mailhost/dkim/check.py": "from mailhost.dns import ask\nfrom mailhost.dns.ask import f\n",
    "_modules/dkim.py": "from mailhost.dns.ask import g\nimport mailhost\n",
}


def measured(folder, files):
    """The rows that script/measure prints of a checkout with these files, ``{name: cells}``."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    printed = subprocess.run([MEASURE, folder], capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    return {name: cells for name, *cells in rows[2:]}


def test_a_folders_row_has_its_files_its_functions_and_who_imports_from_it(tmp_path):
    rows = measured(tmp_path, PACKAGE)
    assert rows["mailhost"] == ["1", "1", "0", "1", "1", "1", "0 of 0, 0 %", "1"]
    assert rows["mailhost/dns"] == ["2", "2", "0", "1", "1", "3", "1 of 1, 100 %", "2"]
    assert rows["mailhost/dkim"] == ["1", "0", "0", "0", "0", "0", "0 of 0, 0 %", "0"]
    assert rows["all"][:3] == ["5", "3", "0"]


def test_the_flat_layout_of_before_is_one_row(tmp_path):
    rows = measured(tmp_path, FLAT)
    assert [name for name in rows if name.startswith("mailserver")] == []
    assert rows["all of `_utils"] == ["2", "1", "0", "2", "2", "2", "2 of 3, 66 %", "1"]
    assert rows["all of `_modules"] == ["1", "1", "1", "1", "1", "1", "0 of 1, 0 %", "0"]
