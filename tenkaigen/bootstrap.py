"""Makes `.venv`, installs the requirements when they changed, and hands over to a module in it.

    python3 -E tenkaigen/bootstrap.py REQUIREMENTS_FILE [MODULE [ARGUMENT ...]]

Standard library only, and in words that old Pythons understand: it must be able to say that they are too old.
"""

import sys

del sys.path[0]  # this file's folder: its module names must not hide those of the standard library

import hashlib
import os
import shutil
import subprocess

PYTHON_MIN = (3, 11)  # NumPy 2.4 and the pinned wheels need it
PYTHON_MAX = (3, 14)  # the newest for which PyTorch 2.13 and the embedded servers have wheels
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
REQUIREMENTS = ("requirements-web.txt", "requirements.txt", "requirements-dev.txt")  # each includes the one before


class Refused(Exception):
    """The set-up cannot go on; the text says what to do."""


def check_python():
    found = sys.version_info[:2]
    if not PYTHON_MIN <= found <= PYTHON_MAX:
        raise Refused(
            "TenkaiGen needs Python %d.%d to %d.%d; found %d.%d: install one of those, or name it with "
            "`make run PYTHON=/path/to/python3.11`." % (PYTHON_MIN + PYTHON_MAX + found)
        )
    if os.name != "posix":
        raise Refused("TenkaiGen runs on Linux and macOS (on Windows: in WSL).")


def fingerprint(requirements):
    """Return what decides whether an install is still good: the pins, the interpreter and the place."""
    digest = hashlib.sha256()
    digest.update(repr((sys.version_info[:3], VENV)).encode())
    for name in REQUIREMENTS[: REQUIREMENTS.index(requirements) + 1] + ("constraints.txt",):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamp_path(requirements):
    return os.path.join(VENV, requirements + ".stamp")


def is_installed(requirements):
    try:
        with open(stamp_path(requirements)) as file:
            return file.read() == fingerprint(requirements) and os.access(VENV_PYTHON, os.X_OK)
    except (IOError, OSError):
        return False


def install(requirements):
    """Bring `.venv` to the pinned set. A second call at the same time waits for the first."""
    import fcntl

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if is_installed(requirements):
            return
        make_venv()
        print("Installing %s into .venv: 2 GB (5 GB where PyTorch comes with CUDA), a few minutes ..." % requirements)
        sys.stdout.flush()
        pip = [VENV_PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
        if subprocess.call(pip + ["-r", os.path.join(ROOT, requirements)]) != 0:
            raise Refused("Installing %s failed; pip's reason is above." % requirements)
        for name in REQUIREMENTS[: REQUIREMENTS.index(requirements) + 1]:
            with open(stamp_path(name), "w") as file:
                file.write(fingerprint(name))
    finally:
        os.close(folder)


def make_venv():
    """Make `.venv`, replacing one that does not work or belongs to another Python."""
    ask = "import sys; print(sys.version_info[:2] == %r)" % (sys.version_info[:2],)
    try:
        if subprocess.check_output([VENV_PYTHON, "-c", ask]).strip() == b"True":
            return
    except (OSError, subprocess.CalledProcessError):
        pass
    print("Making .venv with Python %d.%d ..." % sys.version_info[:2])
    sys.stdout.flush()
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.call([sys.executable, "-m", "venv", VENV]) != 0:
        raise Refused(
            "Python's venv module does not work here: on Debian and Ubuntu run `apt-get install python3-venv`, "
            "then try again."
        )


def main(arguments):
    try:
        check_python()
        if not is_installed(arguments[0]):
            install(arguments[0])
    except Refused as refusal:
        sys.stderr.write("%s\n" % refusal)
        return 1
    except KeyboardInterrupt:
        return 130
    if len(arguments) > 1:
        os.chdir(ROOT)
        os.execv(VENV_PYTHON, [VENV_PYTHON, "-m"] + arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
