"""Starts a program that dies with the process that started it, as another user where asked.

Run as ``python leash.py SIGNAL PARENT USER COMMAND...``. It is a program of its own because what must happen between
fork and exec (changing the user, then asking Linux for a signal when the parent dies) is not safe in a process with
threads. It imports little, so that it costs some 20 ms.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program of the command line."""
    signal, parent, user, *command = sys.argv[1:]
    if user:
        become(user)
    if sys.platform == "linux":
        # after the change of user: that clears the wish
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != int(parent):  # it died before the wish was made
            sys.exit(0)
    os.execvp(command[0], command)  # noqa: S606  no shell is wanted


def become(user: str) -> None:
    """Give up root for ``user``, for good."""
    import pwd

    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)


if __name__ == "__main__":
    main()
