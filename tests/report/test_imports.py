import subprocess
import sys


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("matplotlib", "PIL", "sklearn", "rich.table", "torch")
    code = f"import sys, nearfar.report; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
